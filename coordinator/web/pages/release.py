"""One release: its verdict, who is in it, how it is stored and verified, and what lies around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from barnraise.releases.lineage import Lineage
from barnraise.releases.manifest import Manifest
from coordinator.ledger import DerivedRow, ReleaseRow
from coordinator.web.pages.releases import Mark
from coordinator.web.pages.tests import VerdictRow, reach_of, verdict_rows

__all__ = ["Beside", "Given", "Relative", "ReleaseView", "TensorLine", "around", "release_view"]

TENSORS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Given:
    """An update in a release, and who gave it."""

    digest: str
    contributor: str
    name: str
    weight: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Relative:
    """Something that a release comes from or that comes from it.

    Attributes:
        link: its page; None where it is in another registry.
    """

    relation: str
    name: str
    version: str
    note: str
    link: str | None


@dataclass(frozen=True, slots=True)
class TensorLine:
    """A tensor of the model."""

    name: str
    shape: tuple[int, ...]
    elements: int
    digest: str


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """A release.

    Attributes:
        changed: in words, what is different from its parent; "" of a first one.
        tensors_total: how many there are, of which the first are listed.
        reach: how many margins the picture of the verdict shows to each side.
    """

    name: str
    version: str
    at_ms: int
    bump: str
    reason: str
    round: int
    marks: tuple[Mark, ...]
    yanked: str | None
    verdict: tuple[VerdictRow, ...]
    reach: float
    given: tuple[Given, ...]
    around: tuple[Relative, ...]
    changed: str
    merged_by: tuple[str, ...]
    patch_bytes: int | None
    keyframe_bytes: int | None
    parameters: int
    licence: str
    model_digest: str
    manifest_digest: str
    suite: str
    tensors: tuple[TensorLine, ...]
    tensors_total: int
    card: str
    pull: str
    url: str


@dataclass(frozen=True, slots=True)
class Beside:
    """What a page tells of a release beside the release itself.

    Attributes:
        names: contributor -> display name. card: its text, "" where it cannot be read.
        url: where this run is reached from outside.
    """

    names: Mapping[str, str]
    relatives: tuple[Relative, ...]
    marks: tuple[Mark, ...]
    card: str
    url: str


def release_view(row: ReleaseRow, manifest: Manifest, lineage: Lineage | None, beside: Beside) -> ReleaseView:
    """A release from its row and manifest.

    Args:
        lineage: its entry in the family tree; None where that cannot be read.
    """
    verdict = verdict_rows(row.summary)
    return ReleaseView(
        name=manifest.name,
        version=row.version,
        at_ms=row.created_at_ms,
        bump=row.bump,
        reason=row.reason,
        round=row.round,
        marks=beside.marks,
        yanked=row.yanked,
        verdict=verdict,
        reach=reach_of(verdict),
        given=_given(manifest, beside.names),
        around=beside.relatives,
        changed=_changed(lineage),
        merged_by=lineage.merged_by if lineage else (),
        patch_bytes=row.patch["size_bytes"] if row.patch else None,
        keyframe_bytes=row.keyframe["size_bytes"] if row.keyframe else None,
        parameters=manifest.space.size,
        licence=manifest.licence,
        model_digest=row.model_digest,
        manifest_digest=row.manifest_digest,
        suite=manifest.suite,
        tensors=_tensors(manifest),
        tensors_total=len(manifest.tensors),
        card=beside.card,
        pull=f"barnraise pull {manifest.name}@{row.version} --from {beside.url} --into ./{manifest.name}",
        url=beside.url,
    )


def _given(manifest: Manifest, names: Mapping[str, str]) -> tuple[Given, ...]:
    return tuple(
        Given(one.digest, one.contributor, names.get(one.contributor, ""), one.weight, one.size_bytes)
        for one in manifest.updates
    )


def _tensors(manifest: Manifest) -> tuple[TensorLine, ...]:
    specs = manifest.space.tensors[:TENSORS_SHOWN]
    digests = {entry.name: entry.digest for entry in manifest.tensors}
    return tuple(TensorLine(spec.name, tuple(spec.shape), spec.size, digests[spec.name]) for spec in specs)


def _changed(lineage: Lineage | None) -> str:
    if lineage is None or not lineage.parents:
        return ""
    change = lineage.change
    share = change.parameters_changed / max(1, change.parameters)
    return (
        f"{change.parameters_changed:,} of {change.parameters:,} parameters ({share:.1%}), "
        f"in {change.tensors_changed:,} of {change.tensors:,} tensors"
    )


def around(
    row: ReleaseRow, name: str, children: Sequence[str], reverts: Iterable[str], derived: Iterable[DerivedRow]
) -> tuple[Relative, ...]:
    """What it comes from, then what comes from it.

    Args:
        children: versions that were made from it. reverts: of these, the ones made without some of its updates.
        derived: models that come from it, or from anything else.
    """
    without = set(reverts)
    found = [Relative("made from", name, row.parent, "", f"/releases/{row.parent}")] if row.parent else []
    for child in children:
        note = "without some of its updates" if child in without else ""
        found.append(Relative("led to", name, child, note, f"/releases/{child}"))
    for model in derived:
        if (model.parent_name, model.parent_version) == (name, row.version):
            found.append(Relative("derived", model.name, model.version, model.reason, None))
    return tuple(found)
