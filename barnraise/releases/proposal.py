"""A signing in progress: one JSON file that goes from maintainer to maintainer.

    {"format": 1, "run": "stdlib-lm", "at_ms": ...,
     "changes": ["promotes 1.4.2, ...", ...],      in words, to be read before signing
     "request": {"action": "promote", ...},        what is wanted
     "before": {"root": ..., "targets": ...},      the metadata that it starts from
     "after": {"stable": ..., "stable_list": ...}} the metadata that it makes, with the signatures so far

Words and metadata are computed anew from ``before`` and ``request`` whenever the file is read; a
file in which they differ was altered and is refused, and so is one with a signature that does not
hold. Whether ``before`` is what the run has is the one question that needs the run; see
:func:`check_base`. Nothing here reads a file or a clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field
from tuf.api.metadata import Metadata, Root, Targets, VerificationResult

from barnraise.errors import NotEnoughSignaturesError, OrderRefusedError, VerificationError
from barnraise.message import Message, Millis
from barnraise.releases.ceremony import Request, follow
from barnraise.releases.ceremony_words import changes
from barnraise.releases.charter import Charter
from barnraise.releases.maintainer import KeyPair, PublicKey
from barnraise.releases.manifest import RunName
from barnraise.releases.offline import Offline
from barnraise.releases.roles import STABLE, serialise

__all__ = ["Need", "Proposal", "Signing", "check_base", "propose"]

MOST_BYTES = 4 << 20


class Proposal(Message):
    """The file; see the module's picture."""

    kind: ClassVar[str] = "proposal"
    format: Literal[1] = 1
    run: RunName
    at_ms: Millis
    changes: tuple[str, ...]
    request: Request
    before: dict[str, Any] = Field(repr=False)
    after: dict[str, Any] = Field(repr=False)


@dataclass(frozen=True, slots=True)
class Need:
    """Signatures that a part of a proposal needs.

    Attributes:
        part: ``root``, ``targets`` or ``stable``, or several of them that the same people sign.
        of: whose signatures, in words.
        threshold: how many. keys: who may give them. signed: who has.
    """

    part: str
    of: str
    threshold: int
    keys: tuple[PublicKey, ...]
    signed: tuple[PublicKey, ...]

    @property
    def missing(self) -> int:
        return max(0, self.threshold - len(self.signed))

    @property
    def waiting(self) -> tuple[PublicKey, ...]:
        """Who may still sign."""
        return tuple(key for key in self.keys if key not in self.signed)

    @property
    def words(self) -> str:
        told = f"{self.part}: {self.threshold} of {self.of}"
        if self.signed:
            told += f"; signed by {_names(self.signed)}"
        return f"{told}; missing {self.missing} of {_names(self.waiting)}" if self.missing else told


@dataclass(frozen=True)
class Signing:
    """A proposal that was read and checked: nothing in it contradicts anything else.

    Attributes:
        after: metadata as the proposal makes it; parts that stay are those of ``before``.
    """

    proposal: Proposal
    before: Charter
    after: Charter

    @classmethod
    def parse(cls, data: bytes, what: str) -> Signing:
        """Read a proposal's file; ``what`` names it in an error.

        Raises:
            VerificationError: it is no proposal, or somebody altered it.
            OrderRefusedError: what it asks for cannot be done.
            MessageError: a field of it is malformed.
        """
        if len(data) > MOST_BYTES:
            raise VerificationError(f"{what} has {len(data):,} bytes; no proposal is larger than {MOST_BYTES:,}")
        try:
            return cls.check(Proposal.read(json.loads(data)), what)
        except (ValueError, RecursionError) as error:
            raise VerificationError(f"{what} is no proposal; one is made by: barnraise promote VERSION") from error

    @classmethod
    def check(cls, proposal: Proposal, what: str) -> Signing:
        """Compute anew what a proposal says, and compare.

        Raises:
            VerificationError, OrderRefusedError: as :meth:`parse`.
        """
        before = Charter.read(proposal.before)
        before.check(proposal.run)
        made = follow(proposal.run, before, proposal.request, _time(proposal.at_ms))
        if proposal.changes != changes(before, made, proposal.request):
            raise VerificationError(f"{what} was altered: its words are not what it does. Ask for it again")
        stated = Charter.read({**proposal.before, **proposal.after})
        if set(proposal.after) != set(_changed(before, made)) or stated.digest != made.digest:
            raise VerificationError(f"{what} was altered: it would sign something else than it says. Ask for it again")
        if stated.listed != made.listed:
            raise VerificationError(f"{what} was altered: its list of promoted releases is another. Ask for it again")
        # What goes on is what was computed; of what the file states, only the signatures.
        after = _signed_as(made, stated)
        signing = cls(proposal.model_copy(update={"after": _changed(before, after)}), before, after)
        signing._check_signatures(what)
        return signing

    def _check_signatures(self, what: str) -> None:
        for part, metadata in _parts(self.before, self.after):
            roles = [result for _, result in _results(self.before, self.after, part)]
            valid = {keyid for result in roles for keyid in result.signed}
            foreign = set(metadata.signatures) - valid
            if foreign:
                known = {keyid: key for result in roles for keyid, key in result.unsigned.items()}
                who = [PublicKey.of(known[keyid]).name if keyid in known else keyid[:10] for keyid in sorted(foreign)]
                raise VerificationError(
                    f"{what} was altered after it was signed: in {part} the signature of {', '.join(who)} does not hold"
                )

    def sign(self, pair: KeyPair) -> Signing:
        """The same with the signature of ``pair`` on everything that it may sign.

        Raises:
            OrderRefusedError: the key is not a maintainer's, or has signed before.
        """
        keyid = pair.keyid
        mine = [need for need in self.needs if any(key.keyid == keyid for key in need.keys)]
        if not mine:
            who = sorted({key.name for need in self.needs for key in need.keys})
            raise OrderRefusedError(
                f"key {pair.named('key').public[:10]} is not one of those who may sign this: {', '.join(who)}"
            )
        if all(keyid in {key.keyid for key in need.signed} for need in mine):
            name = next(key.name for key in mine[0].keys if key.keyid == keyid)
            raise OrderRefusedError(f"{name} has signed this already; {self.missing_words}")
        parts = {part for need in mine for part in need.part.split(", ")}
        after = dict(self.proposal.after)
        for part, metadata in _parts(self.before, self.after):
            if part in parts:
                signature = pair.sign(metadata.signed_bytes)
                signed = Metadata(metadata.signed, {**metadata.signatures, keyid: signature})
                after[part] = signed.to_dict()
        return Signing.check(self.proposal.model_copy(update={"after": after}), "this proposal")

    @property
    def needs(self) -> tuple[Need, ...]:
        """What has to be signed, by whom, and by whom it is."""
        found: dict[Need, list[str]] = {}
        for part, _ in _parts(self.before, self.after):
            for of, result in _results(self.before, self.after, part):
                found.setdefault(_need(of, result), []).append(part)
        return tuple(replace(need, part=", ".join(parts)) for need, parts in found.items())

    @property
    def is_complete(self) -> bool:
        """Whether enough have signed."""
        return not any(need.missing for need in self.needs)

    @property
    def missing_words(self) -> str:
        """Who still has to sign, or that nobody has to."""
        missing = [(need.missing, need.of, need.waiting) for need in self.needs if need.missing]
        if not missing:
            return "enough have signed"
        return "missing " + ", and ".join(f"{count} of {of} ({_names(keys)})" for count, of, keys in missing)

    def applied_to(self, offline: Offline) -> Offline:
        """The files of a run with what was signed in the place of what it replaces, checked.

        Args:
            offline: what :func:`check_base` has compared this proposal with.

        Raises:
            NotEnoughSignaturesError: too few have signed; the message names who can still sign.
        """
        if not self.is_complete:
            raise NotEnoughSignaturesError(f"not enough have signed: {self.missing_words}. Nothing was changed")
        found = offline
        for part, metadata in _parts(self.before, self.after):
            data = serialise(metadata)
            match part:
                case Root.type:
                    found = replace(found, roots=(*found.roots, data))
                case Targets.type:
                    found = replace(found, targets=data)
                case _:
                    assert self.after.listed is not None
                    found = replace(found, stable=data, stable_list=self.after.listed.canonical())
        found.check()
        return found

    def to_bytes(self) -> bytes:
        """The file."""
        return (json.dumps(self.proposal.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode("ascii")


def propose(run: str, before: Charter, request: Request, at: datetime) -> Signing:
    """Begin a signing: nobody has signed yet.

    Args:
        run: its name. at: now.

    Raises:
        OrderRefusedError: what is asked for cannot be done.
        VerificationError: ``before`` is not validly signed.
    """
    at_ms = int(at.timestamp()) * 1000
    made = follow(run, before, request, _time(at_ms))
    proposal = Proposal(
        run=run,
        at_ms=at_ms,
        changes=changes(before, made, request),
        request=request,
        before=before.as_json(),
        after=_changed(before, made),
    )
    return Signing.check(proposal, "this proposal")


def check_base(signing: Signing, run: str, current: Charter, now: datetime) -> None:
    """Whether a proposal starts from what a run has.

    Raises:
        OrderRefusedError: it is for another run, or for this one as it was, or what it makes is over.
    """
    before = signing.before
    if signing.proposal.run != run:
        raise OrderRefusedError(f"this proposal is for {signing.proposal.run}, not for {run}")
    if before.digest != current.digest:
        then, today = before.versions, current.versions
        if then == today:
            raise OrderRefusedError(f"this proposal is for another run that is called {run} too")
        raise OrderRefusedError(f"this proposal starts from {then}; {run} is at {today}. Propose it anew")
    if _time(signing.proposal.at_ms) > now + timedelta(days=1):
        raise OrderRefusedError(f"this proposal is of {_time(signing.proposal.at_ms):%Y-%m-%d}; set the clock right")
    over = min(metadata.signed.expires for _, metadata in _parts(before, signing.after))
    if over <= now:
        raise OrderRefusedError(f"what this proposal makes was valid until {over:%Y-%m-%d}. Propose it anew")


def _time(at_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(at_ms // 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise VerificationError(f"a proposal of time {at_ms} was altered") from error


def _parts(before: Charter, after: Charter) -> Iterator[tuple[str, Metadata[Any]]]:
    """What has to be signed: metadata that is another version than before."""
    if after.root.signed.version != before.root.signed.version:
        yield Root.type, after.root
    if after.targets.signed.version != before.targets.signed.version:
        yield Targets.type, after.targets
    if after.stable and (not before.stable or after.stable.signed.version != before.stable.signed.version):
        yield STABLE, after.stable


def _signed_as(made: Charter, stated: Charter) -> Charter:
    """What was computed, with the signatures of what is stated."""
    return Charter(
        Metadata(made.root.signed, stated.root.signatures),
        Metadata(made.targets.signed, stated.targets.signatures),
        Metadata(made.stable.signed, stated.stable.signatures) if made.stable and stated.stable else None,
        made.listed,
    )


def _changed(before: Charter, after: Charter) -> dict[str, Any]:
    """The parts of ``after`` that a proposal brings, as JSON."""
    parts: dict[str, Any] = {part: metadata.to_dict() for part, metadata in _parts(before, after)}
    if after.listed is not None and after.listed != before.listed:
        parts["stable_list"] = after.listed.model_dump(mode="json")
    return parts


def _results(before: Charter, after: Charter, part: str) -> list[tuple[str, VerificationResult]]:
    """Whose signatures a part needs, and how it stands."""
    root, former = after.root.signed.roles[Root.type], before.root.signed.roles[Root.type]
    old = "the maintainers" if before.has_maintainers else "the bootstrap key"
    whose = old if root == former else "the new maintainers"
    if part == STABLE:
        assert after.stable is not None
        stable = after.stable
        return [(whose, after.targets.signed.get_verification_result(STABLE, stable.signed_bytes, stable.signatures))]
    if part == Targets.type:
        targets = after.targets
        return [(whose, after.root.signed.get_verification_result(part, targets.signed_bytes, targets.signatures))]
    signatures, payload = after.root.signatures, after.root.signed_bytes
    both = after.root.signed.get_root_verification_result(before.root.signed, payload, signatures)
    return [(whose, both.second)] if root == former else [(f"{old} so far", both.first), (whose, both.second)]


def _need(of: str, result: VerificationResult) -> Need:
    keys = [PublicKey.of(key) for key in (result.signed | result.unsigned).values()]
    signed = {PublicKey.of(key) for key in result.signed.values()}
    ordered = tuple(sorted(keys, key=lambda key: key.name))
    return Need("", of, result.threshold, ordered, tuple(key for key in ordered if key in signed))


def _names(keys: Iterable[PublicKey]) -> str:
    return ", ".join(key.name for key in keys)
