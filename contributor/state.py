"""What a node remembers between two moments at which it may be killed.

    NODE/                 $XDG_STATE_HOME/barnraise/<run>/<first 8 digits of the key>
      state.json          the one commit point: everything else is named by digest from here
      coordinator.url     where the run's coordinator was reached last, for whoever asks later
      blobs/ab/cd..       updates, residuals and AdamW's moments (float32 vectors)
      base/               the model that was pulled last
      trust/              the run's signed metadata, as it was seen last
      cache/              what is being fetched for the next one
      checkpoint          a unit that was stopped in the middle
      lock                held by the one node of this key

Each transition is a pure method of :class:`NodeState`. To make one happen, store the blobs
that it names, then replace ``state.json`` in one rename. A crash before that rename leaves
the old state and some blobs that nobody names; a crash after it leaves the new state.

Residual and moments move only with a receipt: a finished unit carries those that will be
true *if* the coordinator takes it, and they become the node's when it did.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import canonical_json, digest_bytes
from barnraise.errors import MessageError, VerificationError
from barnraise.protocol import Count, Digest, Key, Message, Number, Signed, check_run_name
from barnraise.releases.durable import make_folder, replace_file
from barnraise.releases.store import BlobStore
from barnraise.run_folder import locked_file

__all__ = ["KeptMoments", "NodeFolder", "NodeState", "Outgoing", "SentUpdate", "state_home"]


class KeptMoments(Message):
    """AdamW's moments at the end of a unit, with the settings that give them their meaning.

    Attributes:
        steps: of AdamW that they have seen. first, second: blobs, float32 [P] each.
        beta1, beta2: their decays. clip_grad_norm: where the gradients in them were clipped.
    """

    kind: ClassVar[str] = "node-moments"
    steps: Count
    first: Digest
    second: Digest
    beta1: Number
    beta2: Number
    clip_grad_norm: Number


class Outgoing(Message):
    """A finished unit that has no receipt yet.

    Attributes:
        envelope: signed UpdateEnvelope. residual, moments: those that go with it.
        dense_bytes: size of the same change in float32.
        folded: earlier updates that were added back into it.
    """

    kind: ClassVar[str] = "node-outgoing"
    digest: Digest
    envelope: Signed
    residual: Digest | None
    moments: KeptMoments | None = None
    dense_bytes: Count
    folded: tuple[Digest, ...] = ()


class SentUpdate(Message):
    """An update with a receipt, whose fate is not known yet."""

    kind: ClassVar[str] = "node-sent"
    digest: Digest
    round: Count


class NodeState(Message):
    """All of a node's memory.

    Attributes:
        coordinator: key of the run's coordinator, taken on trust at the first contact.
        space: digest of the parameter space that residual, moments and updates belong to.
        residual: blob, float32 [P], what compression has left out so far.
        moments: that AdamW begins the next unit with.
        sent: waiting for their fate, oldest first.
        to_fold: updates that came to nothing; the next unit adds them back.
    """

    kind: ClassVar[str] = "node-state"
    coordinator: Key | None = None
    space: Digest | None = None
    residual: Digest | None = None
    moments: KeptMoments | None = None
    outgoing: Outgoing | None = None
    sent: tuple[SentUpdate, ...] = ()
    to_fold: tuple[Digest, ...] = ()

    def with_coordinator(self, key: str) -> NodeState:
        """For a run whose coordinator signs with ``key``.

        Raises:
            VerificationError: it was another key before.
        """
        if self.coordinator not in {None, key}:
            raise VerificationError(
                f"the run's coordinator now signs with key {key[:16]}.., so far it was {str(self.coordinator)[:16]}..; "
                "nothing was sent. If the operator confirms the new key, move this node's folder away and join again."
            )
        return self.model_copy(update={"coordinator": key})

    def in_space(self, space: str) -> NodeState:
        """For a trunk of this shape: what was left over from another shape means nothing here."""
        if self.space == space:
            return self
        return self.model_copy(update={"space": space, "residual": None, "moments": None, "sent": (), "to_fold": ()})

    def without_moments(self) -> NodeState:
        """For moments that cannot be used."""
        return self.model_copy(update={"moments": None})

    def finished(self, outgoing: Outgoing) -> NodeState:
        """A unit is ready to send."""
        assert self.outgoing is None, "the unit before this one was neither received nor refused"
        return self.model_copy(update={"outgoing": outgoing})

    def received(self, round_number: int) -> NodeState:
        """The outgoing unit has its receipt: its residual and moments are now the node's."""
        assert self.outgoing is not None, "there is nothing to have a receipt for"
        done = self.outgoing
        return self.model_copy(
            update={
                "residual": done.residual,
                "moments": done.moments,
                "outgoing": None,
                "sent": (*self.sent, SentUpdate(digest=done.digest, round=round_number)),
                "to_fold": tuple(digest for digest in self.to_fold if digest not in done.folded),
            }
        )

    def refused(self) -> NodeState:
        """The outgoing unit will never be taken: it is as if it had not been trained."""
        return self.model_copy(update={"outgoing": None})

    def settled(self, digest: str, *, fold_back: bool) -> NodeState:
        """The fate of a sent update is known."""
        return self.model_copy(
            update={
                "sent": tuple(update for update in self.sent if update.digest != digest),
                "to_fold": (*self.to_fold, digest) if fold_back else self.to_fold,
            }
        )

    def blobs(self) -> set[str]:
        """Every blob that is still needed."""
        named = {self.residual, *self.to_fold, *(update.digest for update in self.sent)}
        kept = [self.moments]
        if self.outgoing is not None:
            named |= {self.outgoing.digest, self.outgoing.residual}
            kept.append(self.outgoing.moments)
        for moments in kept:
            if moments is not None:
                named |= {moments.first, moments.second}
        return {digest for digest in named if digest is not None}


def state_home() -> Path:
    """Folder of the user's Barnraise state, after the XDG base directory rules."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "barnraise"


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """The folder of one key in one run; see the module's picture."""

    root: Path

    @classmethod
    def of(cls, home: Path, run: str, public_key: str) -> NodeFolder:
        """The folder below ``home``; the run's name is checked before it becomes a path."""
        return cls(home / check_run_name(run) / public_key[:8])

    @property
    def base(self) -> Path:
        return self.root / "base"

    @property
    def url(self) -> Path:
        return self.root / "coordinator.url"

    @property
    def trust(self) -> Path:
        return self.root / "trust"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def store(self) -> BlobStore:
        return BlobStore(self.root)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder; freed when the process ends.

        Raises:
            FolderLockedError: another node with this key does.
        """
        make_folder(self.root)
        with locked_file(self.root / "lock", f"another node with this key already works in {self.root}"):
            yield

    def load(self) -> NodeState:
        """The committed state; an empty one in a new folder.

        Raises:
            VerificationError: the file was altered or is of another version.
        """
        try:
            return NodeState.read(json.loads((self.root / "state.json").read_bytes()))
        except FileNotFoundError:
            return NodeState()
        except (ValueError, MessageError) as error:
            raise VerificationError(
                f"{self.root}/state.json is not a node's state; move {self.root} away to begin without it"
            ) from error

    def commit(self, state: NodeState) -> NodeState:
        """Make ``state`` true, then forget the blobs that nothing names any more.

        Raises:
            DiskFullError: no space left; the old state still holds.
        """
        replace_file(self.root / "state.json", canonical_json(state.model_dump(mode="json")))
        self._forget_all_but(state.blobs())
        return state

    def put_vector(self, vector_P: NDArray[np.float32]) -> str:
        """Store a float32 [P] vector and return its digest."""
        return self.store.put(np.ascontiguousarray(vector_P, dtype="<f4").data.cast("B"))

    def vector(self, digest: str, size: int) -> NDArray[np.float32]:
        """A stored float32 [P] vector, verified.

        Raises:
            BlobMissingError, VerificationError: it is gone, or not what was stored.
        """
        data = self.store.map(digest)
        if len(data) != 4 * size or digest_bytes(data) != digest:
            raise VerificationError(f"a residual in {self.root} was altered; move that folder away to begin without it")
        return np.frombuffer(data, dtype="<f4")

    def _forget_all_but(self, needed: Iterable[str]) -> None:
        keep = {self.store.path(digest) for digest in needed}
        for path in (self.root / "blobs").glob("*/*"):
            if path not in keep:
                path.unlink(missing_ok=True)
