"""What a task of a run needs to know: where the blobs are, what the model is, what it is tested on.

A desk is small and travels to Ray workers; everything large stays on disk and is named by
digest. What was measured is kept in files named by what it depends on, so nothing is measured twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from barnraise.config import RunConfig
from barnraise.errors import AcceptanceError, BlobMissingError, BrokenChainError
from barnraise.identity import Identity
from barnraise.releases.keyframe import parse_keyframe
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.suite import LookConfig
from barnraise.updates import Mask, Update, apply_update
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.examples import NOTHING, Examples, parse_rows
from coordinator.acceptance.heldout import HeldOut
from coordinator.acceptance.hidden.checks import CheckExamples, draw_check
from coordinator.acceptance.hidden.drawing import chain_of
from coordinator.acceptance.hidden.draws import SeedChain
from coordinator.acceptance.kept import KeptValues
from coordinator.acceptance.kinds import Measured
from coordinator.acceptance.measuring import Part, examples_of, measurement
from coordinator.acceptance.models.attachments import Attachment, parse_attachment
from coordinator.acceptance.models.subject import Subject
from coordinator.acceptance.models.trunks import Side, side_files, trunk_subject
from coordinator.conductor.merging import Bench
from coordinator.ledger import ReleaseRow
from coordinator.masks import mask_of
from coordinator.models import ModelCache
from coordinator.round_events import Candidate
from merge.architectures import module_space

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
        return module_space(self.config.model)

    @property
    def models(self) -> ModelCache:
        return ModelCache(self.folder.private / "models", self.space)

    @property
    def bench(self) -> Bench:
        wanted = self.config.update.mask
        if wanted is not None and not self.private.has(wanted.digest):  # backups and collecting garbage know the other
            self.private.put(self.public.read(wanted.digest))
        return Bench(self.private, self.models)

    @property
    def mask(self) -> Mask | None:
        """What the run's updates are under."""
        wanted = self.config.update.mask
        return None if wanted is None else mask_of(self.public, wanted.digest, self.space)

    @cached_property
    def held_out(self) -> HeldOut:
        return HeldOut.parse(self.private.read(self.held_out_digest), self.held_out_digest)

    # -- what models were measured to be --------------------------------------------------

    @property
    def chain(self) -> SeedChain:
        """The seeds that hidden examples are drawn with. Whoever has it knows every draw to come."""
        return chain_of(Identity.load(self.folder.key))

    def check_seed(self, number: int) -> bytes | None:
        """What the examples of a round's checks are drawn with; None where they are always the same."""
        return None if self.config.acceptance.check_pool is None else self.chain.seed(number)

    def check_examples(self, shard: str | None, seed: bytes | None) -> CheckExamples:
        """What the check of an update looks at that was trained on a shard; fresh windows for every seed."""
        return draw_check(self.held_out, self.config, shard, seed)

    def examples(self, look: LookConfig) -> Examples:
        """Everything that a test or a probe can look at.

        Raises:
            AcceptanceError: the data set, or the attachment, is another one.
        """
        found = self._examples(look)
        if look.attachment is None:
            return found
        train = self._rows(look.train) if look.train is not None else NOTHING
        return found.beside(self._attachment(look.attachment), train)

    def _examples(self, look: LookConfig) -> Examples:
        if look.shard is not None:
            windows = self.held_out.windows.get(look.shard)
            return NOTHING if windows is None else Examples.of_windows(windows)
        return NOTHING if look.data is None else self._rows(look.data)

    def _rows(self, name: str) -> Examples:
        if name not in self._data:
            wanted = self.config.acceptance.data[name]
            store = self.private if wanted.hidden else self.public
            self._data[name] = parse_rows(store.read(wanted.digest), wanted.digest, name)
        return self._data[name]

    def _attachment(self, name: str) -> Attachment:
        if name not in self._attachments:
            wanted = self.config.acceptance.attachments[name]
            store = self.private if wanted.hidden else self.public
            self._attachments[name] = parse_attachment(store.read(wanted.digest), wanted.digest, name)
        return self._attachments[name]

    @cached_property
    def _data(self) -> dict[str, Examples]:
        return {}

    @cached_property
    def _attachments(self) -> dict[str, Attachment]:
        return {}

    def measured(self, model_digest: str, part: Part) -> Measured | None:
        """What a test or a probe found of a model, if that is known.

        Raises:
            AcceptanceError: as :meth:`examples`, or there are too few.
        """
        return self.kept.get(self._name(model_digest, part))

    def keep_measured(self, model_digest: str, part: Part, found: Measured) -> None:
        self.kept.put(self._name(model_digest, part), found)

    def require_measured(self, model_digest: str, part: Part) -> Measured:
        """What a test or a probe found of a model.

        Raises:
            AcceptanceError: it was not measured yet.
        """
        found = self.measured(model_digest, part)
        if found is None:
            raise AcceptanceError(f"model {model_digest[:16]}.. was not measured by {part.look.name} yet")
        return found

    def all_measured(self, model_digest: str, looks: Iterable[LookConfig]) -> dict[str, Measured]:
        """Name of a test or a probe -> what it found of a model.

        Raises:
            AcceptanceError: some were not measured yet.
        """
        return {look.name: self.require_measured(model_digest, Part(look)) for look in looks}

    @property
    def kept(self) -> KeptValues:
        """What was measured of all models."""
        return KeptValues(self.folder.private / "scores")

    def _name(self, model_digest: str, part: Part) -> str:
        return measurement(model_digest, part.look, examples_of(part, self.examples(part.look)))

    # -- models ---------------------------------------------------------------------------

    def subject(self, model_digest: str) -> Subject:
        """A model, which is in the cache, as tests see it."""
        return trunk_subject(self.models.get(model_digest), self.config.model, self.space, self.side)

    @property
    def side(self) -> Side:
        """The files that travel with the releases."""
        return side_files(self.public)

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
