"""``barnraise show NAME@VERSION`` of a derived model: where it comes from, and how it is stored."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from barnraise.cli.output import field, print_result, print_warnings, wrapped
from barnraise.releases.catalog import Catalog
from barnraise.releases.derived.family import Family, Needs
from barnraise.releases.derived.manifest import DerivedManifest
from barnraise.releases.index import DerivedEntry, ReleaseIndex
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore

__all__ = ["show_derived"]

LAST_SECOND = 253_402_300_799  # of the year 9999, the last that datetime can say


def show_derived(
    place: ReleaseSource, index: ReleaseIndex, entry: DerivedEntry, warnings: list[str], *, as_json: bool
) -> None:
    """Print a derived model; its manifest and those of its parents are fetched.

    Raises:
        VerificationError, BrokenChainError, NetworkError: a manifest cannot be had, or leads nowhere.
    """
    with tempfile.TemporaryDirectory(prefix="barnraise-show-") as temporary:
        family = Family(Catalog(place, index, BlobStore(Path(temporary))))
        ref = family.ref(entry.name, entry.version)
        manifest, needs = family.derived(ref), family.needs(ref)
    children = [
        f"{other.name} {other.version}"
        for other in index.derived
        if (other.parent_name, other.parent_version) == (entry.name, entry.version)
    ]
    own = sum(blob.size_bytes for blob in manifest.blobs)
    result: dict[str, Any] = {
        "from": place.label,
        "manifest": manifest.model_dump(mode="json"),
        "stored_bytes": own,
        "model_bytes": manifest.size_bytes,
        "built_upon": list(needs.releases),
        "chain_bytes": sum(blob.size_bytes for blob in needs.blobs),
        "children": children,
        "warnings": warnings,
    }
    print_warnings(warnings, as_json=as_json)
    print_result("show", result, as_json=as_json, human=_words(manifest, needs, own, children))


def _words(manifest: DerivedManifest, needs: Needs, own: int, children: list[str]) -> str:
    lineage = manifest.lineage
    parent = lineage.parent
    made = datetime.fromtimestamp(min(manifest.created_at_ms // 1000, LAST_SECOND), UTC)
    deepest = max(tensor.depth for tensor in manifest.tensors)
    types = ", ".join(sorted({tensor.dtype for tensor in manifest.tensors}))
    kinds = f"{lineage.unchanged} unchanged, {lineage.changed} changed, {lineage.own} of its own"
    depth = f", up to {deepest} difference{'' if deepest == 1 else 's'} deep" if deepest else ""
    upon = f", built upon {', '.join(needs.releases)} of the trunk" if needs.releases else ""
    lines = [
        *wrapped(f"{manifest.name} {manifest.version}: {manifest.reason}", "  "),
        *field("imported", f"{made:%Y-%m-%d %H:%M:%S} UTC, {manifest.licence or 'no licence'}"),
        *field("comes from", f"{parent.name} {parent.version} ({parent.model_digest[:15]}..) as: {lineage.relation}"),
        *field("model", manifest.model_digest),
        *field("tensors", f"{len(manifest.tensors)} ({types}): {kinds}"),
        *field("stored as", f"{own:,} bytes for {manifest.size_bytes:,}{depth}{upon}"),
        *field("beside it", ", ".join(file.name for file in manifest.files) or "no other files"),
    ]
    if lineage.note:
        lines += field("note", lineage.note)
    if children:
        lines += field("children", ", ".join(children))
    return "\n".join(lines)
