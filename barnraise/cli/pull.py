"""``barnraise pull``: a release by range, number or channel, into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from barnraise.cli.output import print_result, print_warnings
from barnraise.cli.sources import FromOption, JsonOption, TrustOption, find_source
from barnraise.releases.installed import check_target
from barnraise.releases.plan import Plan
from barnraise.releases.pull import prepare
from barnraise.releases.pull import pull as pull_release
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions, read_index

__all__ = ["pull"]


def pull(
    spec: Annotated[str, typer.Argument(help="NAME@RANGE, NAME@VERSION, NAME@CHANNEL or NAME.")],
    into: Annotated[Path, typer.Option("--into", help="Folder for the release; replaced as a whole.")],
    source: FromOption = None,
    trust: TrustOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and stop.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Pull the newest release that fits; every byte is verified before the folder changes.

    Example: barnraise pull stdlib-lm@^0.1 --into ./model
    """
    place = find_source(source)
    if dry_run:
        _dry_run(place, spec, into, TrustOptions.of(trust), as_json)
        return
    done = pull_release(place, spec, into, trust=TrustOptions.of(trust))
    print_warnings(done.warnings, as_json=as_json)
    result = {
        "name": done.name,
        "version": done.version,
        "model_digest": done.model_digest,
        "folder": str(done.folder),
        "changed": done.changed,
        "fetched_bytes": done.fetched_bytes,
        "model_bytes": done.model_bytes,
        "patch_bytes": done.patch_bytes,
        "plan": done.plan.lines() if done.changed else [],
        "warnings": list(done.warnings),
    }
    what = f"{done.name} {done.version}"
    if done.changed:
        human = [
            *done.plan.lines(),
            f"{what} is in {done.folder}, verified; {done.fetched_bytes:,} bytes were fetched "
            f"for a model of {done.model_bytes:,}",
        ]
    else:
        human = [f"{what} is in {done.folder} already, verified"]
    print_result("pull", result, as_json=as_json, human="\n".join(human))


def _dry_run(place: ReleaseSource, spec: str, into: Path, trust: TrustOptions, as_json: bool) -> None:
    into = into.absolute()
    check_target(into)
    trusted = read_index(place, trust)
    index = trusted.index
    would = prepare(trusted, spec, into, BlobStore(into.parent / f".{into.name}.pull"))
    plan = Plan(would.entry.version, None) if would.is_there else would.plan
    result: dict[str, Any] = {
        "name": index.name,
        "version": would.entry.version,
        "model_digest": would.entry.model_digest,
        "folder": str(into),
        "changed": False,
        "fetch_bytes": plan.fetch_bytes,
        "plan": [] if would.is_there else plan.lines(),
        "warnings": list(would.warnings),
    }
    print_warnings(would.warnings, as_json=as_json)
    steps = [f"would {line}" for line in result["plan"]] or [f"{index.name} {would.entry.version} is there already"]
    human = "\n".join([*steps, f"{plan.fetch_bytes:,} bytes to fetch, beside the manifest; nothing was changed"])
    print_result("pull", result, as_json=as_json, human=human)
