"""Compute a release again from its updates, as anyone can who has the published blobs.

Starts from the first release and repeats every merge up to the wanted one: the same base,
updates, weights and configuration must give the same model and the same patch, whoever
merges them, in whatever order and on however many workers. A release that was made without
some updates of its parent is repeated in the same way: the merges of its line, see
``coordinator.remerge``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from barnraise.errors import VerificationError
from barnraise.message import BlobRef
from barnraise.releases.catalog import Catalog
from barnraise.releases.keyframe import parse_keyframe
from barnraise.releases.manifest import Manifest
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions, read_index
from coordinator.conductor.merging import Bench
from coordinator.conductor.pool import InlinePool, Pool
from coordinator.conductor.replay import Archive, Replay
from coordinator.conductor.steps import drive
from coordinator.models import ModelCache
from coordinator.remerge import Known, Line, nearest
from coordinator.round_events import Candidate

__all__ = ["Recomputed", "recompute"]

TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A release that was computed again and is the same, bit for bit.

    Attributes:
        patch_digest: None of a release without updates of its parent, which is no patch.
        updates: how many were merged again for it.
    """

    version: str
    model_digest: str
    patch_digest: str | None
    updates: int


def recompute(
    source: ReleaseSource,
    version: str,
    *,
    trust: TrustOptions | None = None,
    pool: Pool | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> list[Recomputed]:
    """Repeat every round from the first release to ``version``.

    Args:
        version: an exact version. trust: as for pulling. pool: where merging runs; in this process by default.
        report: gets a line for every release.

    Raises:
        NoSuchVersionError: it is not listed.
        BrokenChainError: a release is given as its own ancestor.
        VerificationError: a release does not come out as it was published.
    """
    index = read_index(source, trust).index
    done = []
    with tempfile.TemporaryDirectory(prefix="barnraise-recompute-") as temporary:
        catalog = Catalog(source, index, BlobStore(Path(temporary)))
        archive = Archive(lambda ref: bytes(catalog.blob(ref)), lambda one: catalog.manifest(index.entry(one)))
        lines = archive.lines(version)
        again = _Again(archive, *_first(catalog, archive.manifest(next(iter(lines))), Path(temporary)), catalog.blob)
        for one, line in list(lines.items())[1:]:
            found = again.make(archive.manifest(one), line, pool or InlinePool())
            report(f"{one}: {found.updates} updates merged again, the same model{_by_patch(found)} bit for bit")
            done.append(found)
    return done


@dataclass(frozen=True)
class _Again:
    """Releases that were made again, and where; ``fetch`` has a blob in the bench."""

    archive: Archive
    bench: Bench
    known: list[Known]
    fetch: Callable[[BlobRef], object]

    def make(self, manifest: Manifest, line: Line, pool: Pool) -> Recomputed:
        """Make one more, and compare it with what was published."""
        keep = {one.model_digest for one in self.known} | {one.state_digest for one in self.known if one.state_digest}
        replay = Replay(self.bench, self.archive, self.fetch, TIMEOUT_S, keep)
        start = nearest(line, self.known)
        merges = line[len(start.line) :]
        end, candidate = drive(replay.run(start, merges), pool)
        _require_same(manifest, end, candidate)
        self.known.append(Known(manifest.version, line, end.model_digest, end.state_digest))
        patch_digest = manifest.patch.digest if manifest.patch else None
        return Recomputed(manifest.version, end.model_digest, patch_digest, sum(len(merge.updates) for merge in merges))


def _first(catalog: Catalog, manifest: Manifest, root: Path) -> tuple[Bench, list[Known]]:
    if manifest.keyframe is None:
        raise VerificationError(f"{manifest.version} has no parent and no keyframe; use another mirror")
    bench = Bench(catalog.store, ModelCache(root / "models", manifest.space))
    digest = bench.models.put(parse_keyframe(catalog.blob(manifest.keyframe), manifest.space))
    return bench, [Known(manifest.version, (), digest, None)]


def _require_same(manifest: Manifest, end: Known, candidate: Candidate | None) -> None:
    published = manifest.patch.digest if manifest.patch else None
    patch = candidate.patch_digest if candidate is not None and published is not None else None
    if (end.model_digest, patch) != (manifest.model_digest, published):
        raise VerificationError(
            f"{manifest.version} computed again is model {end.model_digest[:15]}.. by patch {str(patch)[:15]}.., "
            f"published was {manifest.model_digest[:15]}.. by {str(published)[:15]}..; do not trust this release"
        )


def _by_patch(found: Recomputed) -> str:
    return " and patch" if found.patch_digest else ""
