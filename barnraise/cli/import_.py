"""``barnraise import``: a fine-tune of the trunk, listed with its releases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.ordering import RunOption, find_run
from barnraise.cli.output import JsonOption, print_result, printable
from barnraise.errors import UsageError
from barnraise.releases.derived.manifest import RELATIONS, DerivedManifest, Relation

__all__ = ["import_"]


def import_(
    path: Annotated[
        Path, typer.Argument(help="A safetensors file, a Hugging Face folder, or a folder with an adapter of peft's.")
    ],
    parent: Annotated[str, typer.Option("--parent", help="What it comes from: NAME@VERSION, of the trunk or a child.")],
    name: Annotated[str, typer.Option("--as", help="Name of the model in this run.")],
    run: RunOption = None,
    relation: Annotated[
        str | None,
        typer.Option("--relation", help=f"How it came from it: {', '.join(RELATIONS)}. Default: as it looks."),
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Of the model. Default: the run's.")] = None,
    note: Annotated[str, typer.Option("--note", help="A sentence about it, kept with it.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List a fine-tune beside the trunk, stored bit for bit as the difference from its parent.

    Example: barnraise import ./ft --parent stdlib-lm@0.1.4 --as stdlib-json --run ./my-run
    """
    from barnraise.installation import require

    require("coordinator")
    from coordinator.importing import ImportWish, import_into

    wish = ImportWish(path, name, parent, _relation(relation), licence, note)
    done = import_into(find_run(run), wish, tell=lambda line: None if as_json else print(printable(line)))
    manifest = done.manifest
    lineage = manifest.lineage
    result = {
        "name": manifest.name,
        "version": manifest.version,
        "model_digest": manifest.model_digest,
        "changed": done.is_new,
        "parent": lineage.parent.model_dump(mode="json"),
        "relation": lineage.relation,
        "tensors": {"unchanged": lineage.unchanged, "changed": lineage.changed, "own": lineage.own},
        "model_bytes": done.model_bytes,
        "stored_bytes": done.written_bytes,
    }
    what = f"{manifest.name} {manifest.version}"
    if done.is_new:
        human = f"{what} is listed: {manifest.reason}\n{_stored(manifest, done.model_bytes, done.written_bytes)}"
    else:
        human = f"exactly this is listed already as {what}; nothing was changed"
    print_result("import", result, as_json=as_json, human=human)


def _relation(text: str | None) -> Relation | None:
    if text is None:
        return None
    for known in RELATIONS:
        if known == text:
            return known
    raise UsageError(f"--relation is {text[:32]!a}; expected one of {', '.join(RELATIONS)}")


def _stored(manifest: DerivedManifest, model_bytes: int, written_bytes: int) -> str:
    lineage = manifest.lineage
    parent = f"{lineage.parent.name} {lineage.parent.version}"
    ratio = f", {model_bytes / written_bytes:.1f} times fewer" if written_bytes else ""
    return (
        f"of {len(manifest.tensors)} tensors {lineage.unchanged} are those of {parent}, {lineage.changed} differ, "
        f"{lineage.own} are new\n{written_bytes:,} bytes were stored for {model_bytes:,}{ratio}"
    )
