"""Which updates of a release are to blame: its round is merged again in parts, on the machine of its coordinator.

    bisection found: 0.1.6 is bad, 0.1.5 is good
    culprit search:  0.1.5 merged with some of the updates of 0.1.6, and tested, until those are known
                     without which it would have been good

Everything happens in a folder of its own; the run is only read, and may be running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from barnraise.merge_config import MergeConfig
from barnraise.message import BlobRef
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.blame.ancestry import Ancestry
from coordinator.acceptance.blame.behaviour import Judged
from coordinator.acceptance.blame.culprits import CulpritSearch, Proof
from coordinator.acceptance.models.trunks import side_files, trunk_subject
from coordinator.acceptance.run_suite import Contender
from coordinator.conductor.merging import Bench
from coordinator.conductor.pool import InlinePool
from coordinator.conductor.replay import Archive, Replay, replay_job
from coordinator.conductor.steps import drive, merge_now
from coordinator.ledger import Ledger
from coordinator.models import ModelCache
from coordinator.rehearsal import can_merge
from coordinator.remerge import Known, Line, PastMerge, nearest
from merge.strategies import Mean

__all__ = ["Blamed", "Parts", "Shop", "blame", "known_again"]

TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Blamed:
    """Updates without which a release would have been good.

    Attributes:
        trials: how many parts of its round were merged and tested.
    """

    culprits: tuple[str, ...]
    proofs: tuple[Proof, ...]
    trials: int


@dataclass(frozen=True)
class Shop:
    """Where merges are repeated: a run that is read, and a folder that is written to."""

    folder: RunFolder
    ledger: Ledger
    ancestry: Ancestry
    scratch: Path

    @property
    def public(self) -> BlobStore:
        return BlobStore(self.folder.public)


def blame(shop: Shop, version: str, judge: Callable[[Contender], Judged], tell: Callable[[str], None]) -> Blamed | None:
    """Find the updates that made a release bad.

    Args:
        judge: of a model; what it cannot test counts as bad. tell: gets a line for every part that is tested.

    Returns:
        None of a release that no updates of its own were merged for.

    Raises:
        MergeError, UpdateError, BlobMissingError: a merge cannot be repeated.
    """
    archive = Archive.of(shop.public, shop.ledger.releases())
    past = archive.past(version)
    if past.merge is None or past.parent is None:
        return None
    manifest = shop.ancestry.trunk_manifest(version)
    bench = Bench(BlobStore(shop.scratch), ModelCache(shop.scratch / "models", manifest.space))
    parent = known_again(shop, archive, bench, past.parent)
    parts = Parts(shop, archive, bench, parent, past.merge)
    search = CulpritSearch(past.merge.digests)
    while (subset := search.next_subset()) is not None:
        made = parts.made_of(subset)
        judged = judge(made)
        parts.forget(made)
        tell(f"{version} of {len(subset)} of its {len(past.merge.updates)} updates: {judged.answer}")
        search.record(subset, judged.answer == "good")
    culprits = search.result()
    proofs = tuple(search.proof(update) for update in culprits) if len(past.merge.updates) > 1 else ()
    return Blamed(culprits, proofs, len(search.trials))


def known_again(shop: Shop, archive: Archive, bench: Bench, version: str) -> Known:
    """Model and state of a release, in the bench; merged again where the state is gone."""
    lines = archive.lines(version)
    start = nearest(lines[version], _known(shop, lines))
    bench.models.put(shop.ancestry.flat(start.version))
    if start.state_digest is not None:
        bench.blobs.link_from(BlobStore(shop.folder.private), start.state_digest)
    replay = Replay(bench, archive, lambda ref: _fetch(shop, bench, ref), TIMEOUT_S)
    end, _ = drive(replay.run(start, lines[version][len(start.line) :]), InlinePool())
    return end


def _known(shop: Shop, lines: Mapping[str, Line]) -> list[Known]:
    """Releases of a line whose state is still there."""
    private = BlobStore(shop.folder.private)
    found = []
    for version, line in lines.items():
        row = shop.ledger.release(version)
        if row is not None and (row.state_digest is None or private.has(row.state_digest)):
            found.append(Known(version, line, row.model_digest, row.state_digest))
    return found


def _fetch(shop: Shop, bench: Bench, ref: BlobRef) -> None:
    if not bench.blobs.has(ref.digest):
        bench.blobs.link_from(shop.public, ref.digest)


@dataclass(frozen=True)
class Parts:
    """Merges parts of one round; ``parent`` is where it was merged into."""

    shop: Shop
    archive: Archive
    bench: Bench
    parent: Known
    merge: PastMerge

    def made_of(self, subset: tuple[str, ...]) -> Contender:
        """The model that comes out of some of the updates, as the run merges; by a plain mean if they are too few."""
        wanted = set(subset)
        part = replace(self.merge, updates=tuple(update for update in self.merge.updates if update.digest in wanted))
        for update in part.updates:
            _fetch(self.shop, self.bench, BlobRef(digest=update.digest, size_bytes=update.size_bytes))
        config = self.archive.config(part.config)
        config = config.model_copy(update={"merge": _for_few(config.merge, len(subset))})
        candidate = merge_now(self.bench, replay_job(part, config, self.parent), InlinePool(), TIMEOUT_S).candidate
        space: ParameterSpace = self.bench.models.space
        flat_P = self.bench.models.get(candidate.model_digest)
        label = f"{len(subset)} updates"
        return Contender(
            label,
            candidate.model_digest,
            lambda: trunk_subject(flat_P, config.model, space, side_files(self.shop.public)),
        )

    def forget(self, made: Contender) -> None:
        """Remove a model that only the search needed."""
        if made.digest != self.parent.model_digest:
            self.bench.models.path(made.digest).unlink(missing_ok=True)


def _for_few(config: MergeConfig, updates: int) -> MergeConfig:
    """The run's own way to merge, or a plain mean where that needs more updates."""
    if can_merge(config, updates):
        return config
    return config.model_copy(update={"strategy": Mean.name, "options": {}, "before": ()})
