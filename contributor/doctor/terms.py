"""Judge a run: does it speak our protocol, know our key, have work, and ask for no more than is here (fit.py).

Messages are read leniently here: of a coordinator that is newer than this Barnraise the doctor must still say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from barnraise.key_messages import KeyHistory
from barnraise.narrate import short
from barnraise.protocol import PROTOCOL_VERSION, RunInfo
from contributor.doctor.finding import Finding, fail, ok, skipped, warn
from contributor.doctor.fit import judge_memory, judge_room, judge_time, judge_upload
from contributor.doctor.machine import MachineFacts
from contributor.doctor.need import Need, shape_of, what_it_needs
from contributor.doctor.words import span

__all__ = ["LocalFacts", "TermsFacts", "judge_terms"]

ENDED = frozenset({"released", "rejected", "abandoned"})
CLOCK_WARNING = 0.5
"""Share of the allowed clock skew from which on it is mentioned."""


@dataclass(frozen=True, slots=True)
class LocalFacts:
    """What the owner has for this run.

    Attributes:
        public: the key. locked: a node works with it in its folder.
    """

    public: str
    locked: bool = False


@dataclass(frozen=True)
class TermsFacts:
    """A run, and what was measured against it.

    Attributes:
        said: /v1/run as it came. info: the same, validated; None where this Barnraise cannot read it.
        unreadable: why not. complete: why the run is over; "" while it goes on.
        offset_s: how far this clock is ahead of the coordinator's.
        key: what the run knows of ours; None when it never saw it.
        parameters: of the model; None without PyTorch. data_error: why the training data is not here.
        operations_per_s, upload_bytes_per_s: None where they were not measured; upload_said: why not.
    """

    said: Mapping[str, Any]
    info: RunInfo | None
    unreadable: str = ""
    complete: str = ""
    offset_s: float | None = None
    local: LocalFacts | None = None
    key: KeyHistory | None = None
    parameters: int | None = None
    task_error: str = ""
    data_error: str = ""
    operations_per_s: float | None = None
    upload_bytes_per_s: float | None = None
    upload_said: str = ""

    @property
    def need(self) -> Need | None:
        """What a unit needs; None where the run or its model is not known."""
        if self.info is None or self.info.terms is None or self.parameters is None:
            return None
        terms = self.info.terms
        shape = shape_of(self.info.model)
        return what_it_needs(self.parameters, shape, terms.training.batch, terms.codec, terms.turns)


def judge_terms(facts: TermsFacts, machine: MachineFacts) -> list[Finding]:
    """Everything about the run, in the order in which it is in the way."""
    return [
        _judge_clock(facts),
        _judge_protocol(facts),
        _judge_key(facts),
        _judge_run(facts),
        _judge_task(facts),
        judge_memory(facts.need, machine),
        judge_room(facts.parameters, machine.folders.get("state")),
        judge_time(facts.info, facts.parameters, facts.operations_per_s),
        _judge_upload(facts),
    ]


def _judge_clock(facts: TermsFacts) -> Finding:
    """Is this clock near the coordinator's: signed messages carry the time."""
    if facts.offset_s is None:
        return skipped("clock", "the coordinator did not say what time it has")
    terms = facts.info.terms if facts.info is not None else None
    limit_s = terms.max_clock_skew_s if terms is not None else 300.0
    off_s, way = abs(facts.offset_s), "ahead of" if facts.offset_s > 0 else "behind"
    found = f"{span(off_s)} {way} the coordinator's"
    if off_s > limit_s:
        return fail(
            "clock",
            found,
            needed=f"at most {span(limit_s)}",
            cause="clock-off",
            cure="set it: sudo timedatectl set-ntp true, and look at date; if yours is right, tell the operator",
        )
    if off_s > CLOCK_WARNING * limit_s:
        return warn("clock", found, needed=f"at most {span(limit_s)}", cause="clock-drifts", cure="set it soon")
    return ok("clock", found, f"at most {span(limit_s)}")


def _judge_protocol(facts: TermsFacts) -> Finding:
    """Do both sides speak the same protocol."""
    theirs = facts.said.get("protocol")
    if theirs != PROTOCOL_VERSION:
        newer = isinstance(theirs, int) and theirs > PROTOCOL_VERSION
        cure = "pip install -U 'barnraise[contributor]'" if newer else "ask the operator to upgrade, or install theirs"
        return fail(
            "protocol",
            f"the coordinator speaks {theirs!a}, this barnraise speaks {PROTOCOL_VERSION}",
            cause="protocol-newer" if newer else "protocol-older",
            cure=cure,
        )
    if facts.info is None:
        return fail(
            "protocol",
            f"the run's description cannot be read: {facts.unreadable}",
            cause="run-unreadable",
            cure="it is probably of a newer version: pip install -U 'barnraise[contributor]'",
        )
    return ok("protocol", f"{PROTOCOL_VERSION} on both sides")


def _judge_key(facts: TermsFacts) -> Finding:
    """May our key contribute, and is it free."""
    local, known = facts.local, facts.key
    if local is None:
        return ok("key", "none yet; it is made when you join")
    me = short(local.public)
    if known is not None and known.banned is not None:
        return fail(
            "key",
            f"{me} may not contribute to this run: {known.banned}",
            cause="key-banned",
            cure="ask the operator; another key of yours would be banned as well",
        )
    if known is not None and local.public != known.keys[-1].key:
        return fail(
            "key",
            f"{me} was replaced by {short(known.keys[-1].key)}",
            cause="key-retired",
            cure="use that one: barnraise identity import FILE --in-place-of-old",
        )
    if local.locked:
        return warn(
            "key",
            f"a node of this machine works with {me} for this run already",
            cause="key-in-use",
            cure="leave it to it (barnraise status), or join with another key: --key FILE",
        )
    if known is not None and known.pending is not None:
        return warn(
            "key",
            f"somebody with your recovery code wants key {short(known.pending.new)} in the place of {me}",
            cause="key-claimed",
            cure="if that is not you: barnraise identity object",
        )
    return ok("key", f"{me}, {'known to this run' if known is not None else 'new to this run'}")


def _judge_run(facts: TermsFacts) -> Finding:
    """Is there work to be had."""
    if facts.complete:
        return fail(
            "run",
            facts.complete,
            cause="run-ended",
            cure="there is nothing to join; ask the operator what comes next",
        )
    round_ = facts.said.get("round")
    if not isinstance(round_, Mapping):
        return ok("run", "no round is open yet; the coordinator is starting, and a node waits")
    return ok("run", f"round {round_.get('number')} is {round_.get('phase')}")


def _judge_task(facts: TermsFacts) -> Finding:
    """Can this Barnraise build the model, and is the training data here."""
    if facts.info is None:
        return skipped("task", "the run cannot be read")
    name = facts.info.model.architecture
    if facts.task_error:
        return fail(
            "task",
            f"the model cannot be built here: {facts.task_error}",
            cause="architecture-unknown",
            cure="install what the run's page names, or a newer barnraise",
        )
    if facts.data_error:
        return fail(
            "task",
            f"the training data is not here: {facts.data_error}",
            cause="data-missing",
            cure="see the run's page for where the data comes from",
        )
    size = f", {facts.parameters:,} parameters" if facts.parameters is not None else ""
    return ok("task", f"{name}{size}")


def _judge_upload(facts: TermsFacts) -> Finding:
    if facts.upload_bytes_per_s is None:
        return skipped("upload", facts.upload_said or "not measured")
    terms = facts.info.terms if facts.info is not None else None
    return judge_upload(facts.upload_bytes_per_s, facts.need, None if terms is None else terms.lease_for_s)
