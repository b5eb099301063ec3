"""The page about a derived model: its author's own where the folder has one, else what is known of it."""

from __future__ import annotations

from pathlib import Path

from barnraise.errors import NotACheckpointError
from barnraise.releases.card import HUB_LICENCES, plain, quoted
from barnraise.releases.derived.manifest import Lineage

__all__ = ["PAGE_MAX_BYTES", "page_of"]

CARD_FILE = "README.md"
PAGE_MAX_BYTES = 1 << 20
HUB_RELATIONS = {"fine-tune": "finetune", "adapter": "adapter", "merge": "merge", "quantised": "quantized"}
"""Relations that model hubs know, by our words for them."""


def page_of(folder: Path | None, name: str, lineage: Lineage, licence: str) -> bytes:
    """The page of a model that is imported.

    Args:
        folder: where it comes from; None for a single file.

    Raises:
        NotACheckpointError: a page that is too long, or no text.
    """
    path = folder / CARD_FILE if folder is not None else None
    if path is None or not path.is_file():
        return _written(name, lineage, licence)
    with path.open("rb") as file:
        data = file.read(PAGE_MAX_BYTES + 1)
    if len(data) > PAGE_MAX_BYTES:
        raise NotACheckpointError(f"{path} has more than {PAGE_MAX_BYTES:,} bytes; shorten it, or move it away")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotACheckpointError(f"{path} is not UTF-8 text; save it as that, or move it away") from error
    return data


def _written(name: str, lineage: Lineage, licence: str) -> bytes:
    parent = lineage.parent
    known = licence.lower() in HUB_LICENCES
    other = ["license: other", f"license_name: {quoted(licence or 'none stated')}"]
    stated = [f"license: {quoted(licence.lower())}"] if known else other
    relation = HUB_RELATIONS.get(lineage.relation)
    lines = [
        "---",
        *stated,
        f"base_model: {quoted(parent.name)}",
        *([f"base_model_relation: {relation}"] if relation else []),
        "tags:",
        "- barnraise",
        "---",
        "",
        f"# {plain(name)}",
        "",
        *([plain(lineage.note), ""] if lineage.note else []),
        f"Made from {plain(parent.name)} {parent.version} (`{parent.model_digest}`) as: {lineage.relation}.",
        f"Of its tensors {lineage.unchanged} are the parent's, {lineage.changed} differ from it, {lineage.own} have",
        "nothing there that they could be compared with.",
        "",
        "It was imported, not made, by the run that lists it: its acceptance tests say nothing about this model.",
    ]
    return ("\n".join(lines) + "\n").encode("ascii")
