"""What an update that came too late conflicts with: the change that was merged while it was on its way.

Such an update is not merged, and nobody is at fault. Its contributor may train on, or fold it
back; how much of it the trunk has learnt or undone meanwhile is told as a version control
system would: where both changed the same elements, and whether in the same direction.

P  elements of a segment
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from barnraise.errors import StorageError, UpdateError
from barnraise.narrate import short
from barnraise.updates import Update
from coordinator.conductor.desk import Desk
from coordinator.ledger import ReleaseRow
from merge.conflicts import conflicts
from merge.measure import measure_pieces, total

__all__ = ["PATCHES_MAX", "measure_stale", "merged_since"]

PATCHES_MAX = 16
"""An update that missed more releases than this is not compared any more: the work stays bounded."""


def merged_since(base_digest: str, releases: Sequence[ReleaseRow], head: ReleaseRow | None) -> list[ReleaseRow]:
    """The releases that lead from a base to where the trunk is, oldest first; none if the base is no ancestor.

    Args:
        base_digest: model digest. releases: all. head: where the trunk is.
    """
    by_version = {release.version: release for release in releases}
    chain: list[ReleaseRow] = []
    at: ReleaseRow | None = head
    while at is not None and at.model_digest != base_digest:
        chain.append(at)
        at = by_version.get(at.parent) if at.parent else None
    return chain[::-1] if at is not None else []


def measure_stale(desk: Desk, digest: str, since: Sequence[ReleaseRow]) -> dict[str, Any]:
    """Compare an update with the sum of the patches since its base, one segment at a time.

    Returns:
        ``{"overall", "worst_tensors"}`` as in :class:`merge.conflicts.Conflicts`, or ``{"unknown": why}``
        when a blob is gone or the update cannot be decoded: it is in no release either way.
    """
    space = desk.space
    try:
        update = Update.parse(
            desk.private.map(digest),
            space,
            base_digest=None,
            max_bytes=desk.config.gateway.max_update_bytes,
            mask=desk.mask,
        )
        whole = [row.version for row in since if row.patch is None]
        if whole:
            return {"unknown": f"{whole[0]} is no patch: it was merged again without some updates"}
        patches = [
            Update.parse(desk.public.map(row.patch["digest"]), space, base_digest=None) for row in since if row.patch
        ]
        parts = []
        for segment in range(space.segment_count):
            merged_P = torch.zeros(int(space.segment_chunk_starts(segment)[-1]))
            for patch in patches:
                merged_P.add_(torch.from_numpy(patch.decode(segment)))
            rows = [torch.from_numpy(update.decode(segment)), merged_P]
            parts.append(measure_pieces(rows, space.pieces(segment), magnitudes=False))
    except (UpdateError, StorageError) as error:
        return {"unknown": str(error)}
    report = conflicts(total(parts), space.tensors, (short(digest), "merged meanwhile")).as_json()
    return {"overall": report["overall"], "worst_tensors": list(report["worst_tensors"])}
