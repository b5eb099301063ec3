"""``barnraise pull``: a release by range, number or channel, into a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from barnraise.cli.cache import CacheOption, find_cache
from barnraise.cli.output import print_result, print_warnings, printable
from barnraise.cli.pull_progress import fetching
from barnraise.cli.sources import FromOption, JsonOption, MirrorOption, TrustOption, find_mirrors, find_source
from barnraise.releases.convert import NAMES
from barnraise.releases.derived.plan import DerivedPlan
from barnraise.releases.fetch import CONNECTIONS, FetchOptions, Progress
from barnraise.releases.installed import Form
from barnraise.releases.plan import Plan
from barnraise.releases.pull import Pulling, PullOptions, PullResult, would_pull
from barnraise.releases.pull import pull as pull_release
from barnraise.releases.trust import TrustOptions

__all__ = ["ConnectionsOption", "pull"]

ConnectionsOption = Annotated[int, typer.Option("--connections", min=1, max=32, help="Transfers at a time.")]


def pull(
    spec: Annotated[str, typer.Argument(help="NAME@RANGE, NAME@VERSION, NAME@CHANNEL or NAME.")],
    into: Annotated[Path, typer.Option("--into", help="Folder for the release; replaced as a whole.")],
    source: FromOption = None,
    mirror: MirrorOption = None,
    trust: TrustOption = None,
    dtype: Annotated[
        Literal["f32", "bf16", "f16"] | None, typer.Option("--dtype", help="Convert the tensors. Default: as released.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and stop.")] = False,
    connections: ConnectionsOption = CONNECTIONS,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pull the newest release that fits; every byte is verified before the folder changes.

    Example: barnraise pull stdlib-lm@^0.1 --into ./model
    """

    @contextmanager
    def watch(pulling: Pulling) -> Iterator[Progress]:
        if not as_json:
            print(printable("\n".join(_planned(pulling.plan))))
            sys.stdout.flush()
        with fetching(pulling.plan, as_json=as_json) as progress:
            yield progress

    place = find_source(source)
    options = PullOptions(
        trust=TrustOptions.of(trust),
        mirrors=find_mirrors(mirror),
        cache=find_cache(cache),
        form=Form(NAMES[dtype] if dtype else None),
        fetch=FetchOptions(connections=connections),
        watch=watch,
    )
    if dry_run:
        _say_what_would_be(would_pull(place, spec, into, options), into.absolute(), as_json)
    else:
        _say_what_was(pull_release(place, spec, into, options), as_json)


def _planned(plan: Plan | DerivedPlan) -> list[str]:
    """The steps, and what they cost."""
    at_hand = sum(blob.size_bytes for blob in plan.blobs) - plan.fetch_bytes
    rest = f", {at_hand:,} are at hand" if at_hand else ""
    return [*plan.lines(), f"{plan.fetch_bytes:,} bytes to fetch, with card, reports and manifest{rest}"]


def _say_what_would_be(would: Pulling, into: Path, as_json: bool) -> None:
    what = f"{would.manifest.name} {would.entry.version}"
    result: dict[str, Any] = {
        "name": would.manifest.name,
        "version": would.entry.version,
        "model_digest": would.entry.model_digest,
        "folder": str(into),
        "changed": False,
        "is_there": would.is_there,
        "fetch_bytes": would.plan.fetch_bytes,
        "plan": [] if would.is_there else would.plan.lines(),
        "steps": [] if would.is_there else would.plan.steps(),
        "warnings": list(would.warnings),
    }
    print_warnings(would.warnings, as_json=as_json)
    if would.is_there:
        human = f"{what} is in {into} already, verified; nothing to do"
    else:
        human = "\n".join([f"to have {what} in {into}:", *_planned(would.plan), "nothing was changed"])
    print_result("pull", result, as_json=as_json, human=human)


def _say_what_was(done: PullResult, as_json: bool) -> None:
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
        "steps": done.plan.steps() if done.changed else [],
        "warnings": list(done.warnings),
    }
    what = f"{done.name} {done.version} is in {done.folder}"
    if done.changed:
        human = f"{what}, verified\n{done.fetched_bytes:,} bytes were fetched for a model of {done.model_bytes:,}"
    else:
        human = f"{what} already, verified"
    print_result("pull", result, as_json=as_json, human=human)
