"""Merge again what was merged before, one merge after the other, from a release that is known.

Each merge has the updates, weights and rules that it had, on whatever base the one before leaves.
Updates that were changes of another base are added as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from barnraise.config import RunConfig, parse_run_config
from barnraise.errors import VerificationError
from barnraise.message import BlobRef
from barnraise.protocol import mask_ref
from barnraise.releases.manifest import Manifest, read_manifest
from barnraise.releases.store import BlobStore
from barnraise.updates.scope import TURN_END, Scope
from coordinator.conductor.merging import Bench, MergeInput, MergeJob
from coordinator.conductor.pool import Task
from coordinator.conductor.steps import merge_steps
from coordinator.ledger import ReleaseRow
from coordinator.remerge import Known, Line, Past, PastMerge, lines_of, past_of
from coordinator.round_events import Candidate

__all__ = ["Archive", "Replay", "replay_job"]


def replay_job(merge: PastMerge, config: RunConfig, base: Known) -> MergeJob:
    """A merge of the past as a job on a base.

    Raises:
        VerificationError: a manifest gave it a round that no run has.
    """
    if merge.round >= TURN_END:
        raise VerificationError(
            f"{merge.version} is said to be of round {merge.round:,}, and rounds end before {TURN_END:,}; do not trust "
            "this release"
        )
    inputs = tuple(MergeInput(update.digest, update.weight) for update in merge.updates)
    made_from = None if merge.made_from == base.model_digest else merge.made_from
    mask = None if config.update.mask is None else config.update.mask.digest
    release = config.release
    return MergeJob(
        base.model_digest,
        inputs,
        base.state_digest,
        config.merge,
        release.codec,
        Scope.in_turn(release.turns, merge.round),
        made_from,
        mask,
    )


@dataclass(frozen=True)
class Archive:
    """How a run's releases were made, read from what it published.

    Attributes:
        blob: the bytes of a published blob. manifest: of a version.
    """

    blob: Callable[[BlobRef], bytes]
    manifest: Callable[[str], Manifest]
    _configs: dict[str, RunConfig] = field(default_factory=dict)

    @classmethod
    def of(cls, public: BlobStore, releases: Sequence[ReleaseRow]) -> Archive:
        """The archive of a run's own store."""
        digests = {release.version: release.manifest_digest for release in releases}

        def manifest(version: str) -> Manifest:
            return read_manifest(public.read(digests[version]), f"the manifest of {version}")

        return cls(lambda ref: public.read(ref.digest), manifest)

    def config(self, ref: BlobRef) -> RunConfig:
        """A configuration that releases were made by.

        Raises:
            VerificationError, ConfigError: it is none.
        """
        if ref.digest not in self._configs:
            what = f"the published configuration {ref.digest[:15]}.."
            try:
                settings = json.loads(self.blob(ref))["run"]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise VerificationError(f"{what} is malformed; do not trust these releases") from error
            self._configs[ref.digest] = parse_run_config(settings, source=what)
        return self._configs[ref.digest]

    def past(self, version: str) -> Past:
        manifest = self.manifest(version)
        return past_of(manifest, self.config(manifest.config).round.min_updates)

    def lines(self, version: str) -> dict[str, Line]:
        """The line of a release and of each of its ancestors, oldest first."""
        return lines_of(version, self.past)


Replaying = Generator[list[Task], list[Any], tuple[Known, Candidate | None]]


@dataclass(frozen=True)
class Replay:
    """Carries merges of the past out.

    Attributes:
        bench: where blobs are and go. archive: where configurations are.
        fetch: has an update in the bench. timeout_s: for each task.
        keep: digests of models and states that stay; of others only the last ones do.
    """

    bench: Bench
    archive: Archive
    fetch: Callable[[BlobRef], object]
    timeout_s: float
    keep: Collection[str] = ()

    def run(
        self, start: Known, merges: Sequence[PastMerge]
    ) -> Generator[list[Task], list[Any], tuple[Known, Candidate | None]]:
        """Merge on from ``start``, whose model is in the bench.

        Returns:
            where that leads, and the last candidate; None without merges.

        Raises:
            MergeError, UpdateError: a merge is not possible on its new base.
            BlobMissingError: an update or a configuration is gone.
        """
        at, candidate = start, None
        for merge in merges:
            for update in merge.updates:
                self.fetch(BlobRef(digest=update.digest, size_bytes=update.size_bytes))
            config = self.archive.config(merge.config)
            if (mask := mask_ref(config.update)) is not None:
                self.fetch(mask)
            job = replay_job(merge, config, at)
            candidate = (yield from merge_steps(self.bench, job, self.timeout_s)).candidate
            end = Known(merge.version, (*at.line, merge), candidate.model_digest, candidate.state_digest)
            self.forget(at, end)
            at = end
        return at, candidate

    def forget(self, old: Known, besides: Known | None = None) -> None:
        """Remove model and state of a place, unless they are to be kept or are those of another."""
        needed = {*self.keep, *((besides.model_digest, besides.state_digest) if besides else ())}
        if old.model_digest not in needed:
            self.bench.models.path(old.model_digest).unlink(missing_ok=True)
        if old.state_digest is not None and old.state_digest not in needed:
            self.bench.blobs.delete(old.state_digest)
