"""What a node remembers between two moments at which it may be killed, and the transitions between them.

Each transition is a pure method of :class:`NodeState`; folder.py makes it happen, in one rename.

Residual and moments move only with a receipt. The outbox holds finished units without one, in
the order of their training, and each carries what will be true *if* the coordinator takes it:

- The residual is a sum of vectors. A unit *takes* those that no earlier unit in the outbox has
  taken, and carries what its own update leaves out. Its receipt replaces what it took by what it
  carries; a refusal leaves all as it was. So with any number of units on their way, received in
  any order, nothing that was left out is sent twice or lost. Updates to add back are taken alike.
- AdamW's moments are those of the newest unit that has a receipt. A unit that is trained while
  another has none yet begins with the moments from before both: they are worth little, and what
  the coordinator never took must leave no trace.
"""

from __future__ import annotations

from typing import Any, ClassVar

from barnraise.errors import VerificationError
from barnraise.message import Count, Digest, Key, Message, Millis, Number, Signed

__all__ = ["KeptMoments", "NodeState", "Outgoing", "SentUpdate", "of_today"]


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
        envelope: signed UpdateEnvelope. moments: those that go with it.
        residual: blob, float32 [P], what it leaves out; None where the run wants none kept.
        took: residuals that are in it. folded: earlier updates that were added back into it.
        dense_bytes: size of the same change in float32.
        foreign: of a trunk of another shape than the node's now.
        held_until_ms: it was averaged, and another member sends the average; before this it is not sent.
        instead: this one is a team's; what was made alone, for the case that the team's is not taken.
    """

    kind: ClassVar[str] = "node-outgoing"
    digest: Digest
    envelope: Signed
    residual: Digest | None
    moments: KeptMoments | None = None
    dense_bytes: Count
    took: tuple[Digest, ...] = ()
    folded: tuple[Digest, ...] = ()
    foreign: bool = False
    held_until_ms: Millis | None = None
    instead: Outgoing | None = None

    @property
    def lease_id(self) -> str:
        """The lease that it was trained for."""
        return str(self.envelope.body["lease_id"])

    def altered(self, **values: Any) -> Outgoing:
        """With other values, also in what may be sent instead."""
        instead = None if self.instead is None else self.instead.model_copy(update=values)
        return self.model_copy(update={**values, "instead": instead})


class SentUpdate(Message):
    """An update with a receipt, whose fate is not known yet. A ``foreign`` one is not added back, whatever it is."""

    kind: ClassVar[str] = "node-sent"
    digest: Digest
    round: Count
    foreign: bool = False


class NodeState(Message):
    """All of a node's memory.

    Attributes:
        node: random, drawn once; tells this folder from another with the same key.
        coordinator: key of the run's coordinator, taken on trust at the first contact.
        space: digest of the parameter space that residuals, moments and updates belong to.
        residuals: blobs, float32 [P] each; their sum is what compression has left out so far.
        moments: that AdamW begins the next unit with.
        outbox: finished units without a receipt, in the order of their training.
        sent: waiting for their fate, oldest first.
        to_fold: updates that came to nothing; the next unit adds them back.
    """

    kind: ClassVar[str] = "node-state"
    node: str = ""
    coordinator: Key | None = None
    space: Digest | None = None
    residuals: tuple[Digest, ...] = ()
    moments: KeptMoments | None = None
    outbox: tuple[Outgoing, ...] = ()
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
        foreign = {"residual": None, "moments": None, "took": (), "folded": (), "foreign": True}
        outbox = tuple(unit.altered(**foreign) for unit in self.outbox)
        nothing = {"residuals": (), "moments": None, "outbox": outbox, "sent": (), "to_fold": ()}
        return self.model_copy(update={"space": space, **nothing})

    def without_moments(self) -> NodeState:
        """For moments that cannot be used."""
        return self.model_copy(update={"moments": None})

    @property
    def free_residuals(self) -> tuple[str, ...]:
        """Residuals that no unit in the outbox has taken: those that the next unit takes."""
        taken = {digest for unit in self.outbox for digest in unit.took}
        return tuple(digest for digest in self.residuals if digest not in taken)

    @property
    def free_to_fold(self) -> tuple[str, ...]:
        """Updates that no unit in the outbox has added back: those that the next unit does."""
        taken = {digest for unit in self.outbox for digest in unit.folded}
        return tuple(digest for digest in self.to_fold if digest not in taken)

    def finished(self, outgoing: Outgoing) -> NodeState:
        """A unit is ready to send."""
        assert set(outgoing.took) <= set(self.free_residuals), "a residual is taken by one unit only"
        assert set(outgoing.folded) <= set(self.free_to_fold), "an update is added back by one unit only"
        return self.model_copy(update={"outbox": (*self.outbox, outgoing)})

    def resigned(self, outgoing: Outgoing) -> NodeState:
        """A unit in the outbox has a new envelope."""
        outbox = tuple(outgoing if unit.digest == outgoing.digest else unit for unit in self.outbox)
        return self.model_copy(update={"outbox": outbox})

    def instead_of(self, digest: str) -> NodeState:
        """A team's update in the outbox will never be taken: what was made alone is in its place."""
        own = self.outbox[self._place(digest)].instead
        assert own is not None, "that was made alone"
        return self.model_copy(update={"outbox": tuple(own if unit.digest == digest else unit for unit in self.outbox)})

    def released(self) -> NodeState:
        """Nothing in the outbox is held any more."""
        held = ({"held_until_ms": 0} if unit.held_until_ms else {} for unit in self.outbox)
        outbox = tuple(unit.model_copy(update=update) for unit, update in zip(self.outbox, held, strict=True))
        return self.model_copy(update={"outbox": outbox})

    def carried(self, digest: str, by: str, round_number: int) -> NodeState:
        """A unit in the outbox has its receipt as part of a team's update, which another member sent.

        That one has nothing of what this node's compression left over: it stays as it was.
        """
        place = self._place(digest)
        moments = self.outbox[place].moments
        earlier = tuple(unit.model_copy(update={"moments": moments}) for unit in self.outbox[:place])
        return self.model_copy(
            update={
                "moments": moments,
                "outbox": (*earlier, *self.outbox[place + 1 :]),
                "sent": (*self.sent, SentUpdate(digest=by, round=round_number, foreign=True)),
            }
        )

    def received(self, digest: str, round_number: int) -> NodeState:
        """A unit in the outbox has its receipt: what it carries is now the node's."""
        place = self._place(digest)
        done = self.outbox[place]
        earlier = tuple(unit.model_copy(update={"moments": done.moments}) for unit in self.outbox[:place])
        kept = tuple(residual for residual in self.residuals if residual not in done.took)
        return self.model_copy(
            update={
                "residuals": (*kept, done.residual) if done.residual is not None else kept,
                "moments": done.moments,
                "outbox": (*earlier, *self.outbox[place + 1 :]),
                "sent": (*self.sent, SentUpdate(digest=done.digest, round=round_number, foreign=done.foreign)),
                "to_fold": tuple(one for one in self.to_fold if one not in done.folded),
            }
        )

    def refused(self, digest: str) -> NodeState:
        """A unit in the outbox will never be taken: it is as if it had not been trained."""
        place = self._place(digest)
        return self.model_copy(update={"outbox": (*self.outbox[:place], *self.outbox[place + 1 :])})

    def _place(self, digest: str) -> int:
        places = [place for place, unit in enumerate(self.outbox) if unit.digest == digest]
        assert places, "there is no such unit to have a receipt for"
        return places[0]

    def settled(self, digest: str, *, fold_back: bool) -> NodeState:
        """The fate of a sent update is known."""
        back = fold_back and any(update.digest == digest and not update.foreign for update in self.sent)
        return self.model_copy(
            update={
                "sent": tuple(update for update in self.sent if update.digest != digest),
                "to_fold": (*self.to_fold, digest) if back else self.to_fold,
            }
        )

    def blobs(self) -> set[str]:
        """Every blob that is still needed."""
        named = {*self.residuals, *self.to_fold, *(update.digest for update in self.sent)}
        units = [*self.outbox, *(unit.instead for unit in self.outbox if unit.instead is not None)]
        kept = [self.moments, *(unit.moments for unit in units)]
        for unit in units:
            named |= {unit.digest, unit.residual or unit.digest, *unit.took, *unit.folded}
        for moments in kept:
            if moments is not None:
                named |= {moments.first, moments.second}
        return named


def of_today(value: Any) -> Any:
    """What ``state.json`` holds, in the shape of today: before there was an outbox, one slot and one residual."""
    if not isinstance(value, dict) or not {"outgoing", "residual"} & set(value) or "outbox" in value:
        return value
    rest = {key: kept for key, kept in value.items() if key not in {"outgoing", "residual"}}
    took = [value["residual"]] if value.get("residual") else []
    outgoing = value.get("outgoing")
    return {**rest, "residuals": took, "outbox": [{**outgoing, "took": took}] if isinstance(outgoing, dict) else []}
