"""What a task of a run needs to know: where the blobs are, what the model is, what it is tested on.

A desk is small and travels to Ray workers; everything large stays on disk and is named by
digest. Scores are kept in files named by what they depend on, so nothing is evaluated twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from barnraise.config import RunConfig
from barnraise.digest import digest_json
from barnraise.errors import AcceptanceError, BlobMissingError, BrokenChainError
from barnraise.releases.durable import make_folder, replace_file
from barnraise.releases.keyframe import parse_keyframe
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.updates import Update, apply_update
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.evaluate import CODE_VERSION, Scores
from coordinator.acceptance.heldout import HeldOut
from coordinator.conductor.merging import Bench
from coordinator.ledger import ReleaseRow
from coordinator.models import ModelCache
from coordinator.round import Candidate
from merge.architectures import build, space_of

__all__ = ["Desk"]


@dataclass(frozen=True)
class Desk:
    """Paths and settings of one run.

    Attributes:
        root: the run folder. held_out_digest: blob of the acceptance data, in the private store.
    """

    root: Path
    config: RunConfig
    held_out_digest: str

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.root)

    @property
    def private(self) -> BlobStore:
        return BlobStore(self.folder.private)

    @property
    def public(self) -> BlobStore:
        return BlobStore(self.folder.public)

    @cached_property
    def space(self) -> ParameterSpace:
        return space_of(build(self.config.model))

    @property
    def models(self) -> ModelCache:
        return ModelCache(self.folder.private / "models", self.space)

    @property
    def bench(self) -> Bench:
        return Bench(self.private, self.models)

    @cached_property
    def held_out(self) -> HeldOut:
        return HeldOut.parse(self.private.read(self.held_out_digest), self.held_out_digest)

    # -- scores ---------------------------------------------------------------------------

    def scores(self, model_digest: str, shard: str) -> Scores | None:
        """Scores of a model on the held-out windows of a shard, if they are known."""
        try:
            value = json.loads(self._score_path(model_digest, shard).read_text())
        except FileNotFoundError:
            return None
        return Scores(
            bits_per_byte=np.array(value["bits_per_byte"], dtype=np.float64),
            correct=np.array(value["correct"], dtype=bool),
        )

    def keep_scores(self, model_digest: str, shard: str, scores: Scores) -> None:
        path = self._score_path(model_digest, shard)
        make_folder(path.parent)
        value = {"bits_per_byte": scores.bits_per_byte.tolist(), "correct": scores.correct.tolist()}
        replace_file(path, json.dumps(value).encode())

    def known_scores(self, model_digest: str) -> dict[str, Scores]:
        """Scores on every shard that the suite uses.

        Raises:
            AcceptanceError: some were not computed yet.
        """
        known = {shard: self.scores(model_digest, shard) for shard in self.shards_tested}
        missing = [shard for shard, scores in known.items() if scores is None]
        if missing:
            raise AcceptanceError(f"model {model_digest[:16]}.. has no scores on {', '.join(missing)} yet")
        return {shard: scores for shard, scores in known.items() if scores is not None}

    @property
    def shards_tested(self) -> tuple[str, ...]:
        """Shards that some acceptance test uses, in the order of the configuration."""
        tested = {test.shard for test in self.config.acceptance.tests}
        return tuple(shard for shard in self.config.data.shards if shard in tested)

    def score_names(self, models: Iterable[str]) -> frozenset[str]:
        """Names of the files that keep what these models score."""
        return frozenset(self._score_path(digest, shard).name for digest in models for shard in self.config.data.shards)

    def _score_path(self, model_digest: str, shard: str) -> Path:
        key = digest_json([model_digest, self.held_out_digest, shard, CODE_VERSION])
        return self.folder.private / "scores" / f"{key[3:]}.json"

    # -- models ---------------------------------------------------------------------------

    def ensure_model(self, wanted: ReleaseRow, releases: Sequence[ReleaseRow]) -> None:
        """Have a release's model in the cache, rebuilt from the nearest keyframe if need be."""
        try:
            self.models.verified(wanted.model_digest)
            return
        except BlobMissingError:
            pass
        by_version = {release.version: release for release in releases}
        chain: list[ReleaseRow] = []
        at: ReleaseRow | None = wanted
        while at is not None and at.keyframe is None:
            chain.append(at)
            at = by_version.get(at.parent) if at.parent else None
        if at is None or at.keyframe is None:
            raise BrokenChainError(f"no keyframe leads to {wanted.version}; restore {self.folder.public} from a backup")
        flat_P = parse_keyframe(self.public.read(at.keyframe["digest"]), self.space)
        base_digest = at.model_digest
        for release in reversed(chain):
            assert release.patch is not None
            patch = Update.parse(self.public.map(release.patch["digest"]), self.space, base_digest=base_digest)
            flat_P, base_digest = apply_update(flat_P, patch), release.model_digest
        if self.models.put(flat_P) != wanted.model_digest:
            raise BrokenChainError(f"rebuilding {wanted.version} gives another model; run: barnraise verify")

    def tidy(self, releases: Sequence[ReleaseRow], head: ReleaseRow, keep: int = 2) -> None:
        """Forget models and optimiser states of all releases but the newest and ``head``; all can be computed again."""
        newest = [*releases[-keep:], head]
        self.models.keep_only(release.model_digest for release in newest)
        needed = {release.state_digest for release in newest}
        for release in releases[:-keep]:
            if release.state_digest is not None and release.state_digest not in needed:
                self.private.delete(release.state_digest)

    def forget(self, candidate: Candidate, base: ReleaseRow) -> None:
        """Remove a candidate that only a culprit search needed; its scores stay."""
        if candidate.model_digest != base.model_digest:
            self.models.path(candidate.model_digest).unlink(missing_ok=True)
        self.private.delete(candidate.patch_digest)
        if candidate.state_digest != base.state_digest:
            self.private.delete(candidate.state_digest)
