"""Who may train, and which update may come in: the two decisions, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import (
    BannedError,
    BarnraiseError,
    ClockSkewError,
    LeaseError,
    OversizedUpdateError,
    QuotaExceededError,
    ReplayedMessageError,
    WrongBaseError,
)
from barnraise.protocol import LeaseRelease, LeaseRequest, UpdateEnvelope, Wait
from coordinator.admission import (
    AdmissionPolicy,
    Admit,
    Already,
    Grant,
    LeaseFacts,
    Repeat,
    UpdateFacts,
    collecting_ends_ms,
    decide_lease,
    decide_release,
    decide_update,
)
from coordinator.ledger.rows import LeaseRow, RoundRow, UpdateRow
from doorstep import BASE, START_MS, toy_config

POLICY = AdmissionPolicy.of(toy_config(max_update_bytes=100, max_pending_updates_per_contributor=2))
ROUND = RoundRow(1, "collecting", "open", "0.1.0", BASE, START_MS, START_MS, START_MS, {})
NOTHING = LeaseFacts(ROUND, (), 0, None, None, None)
LEASE = LeaseRow("1" * 32, "ada", 1, "0.1.0", BASE, "text", "a" * 32, START_MS, START_MS + 20_000, None)
DIGEST = "b3:" + "1" * 64


def request(**changes: Any) -> LeaseRequest:
    return LeaseRequest(**({"run": "toy", "name": "Ada", "nonce": "a" * 32, "at_ms": START_MS} | changes))


def ask(facts: LeaseFacts, *, now_ms: int = START_MS, who: str = "ada", **changes: Any) -> Grant | Repeat | Wait:
    asked = request(**({"at_ms": now_ms} | changes))
    return decide_lease(asked, who, facts, POLICY, now_ms=now_ms, lease_id="f" * 32)


def reason(decision: object) -> str:
    assert isinstance(decision, Wait), decision
    return decision.reason


def granted_shard(facts: LeaseFacts, who: str = "ada") -> str:
    decision = ask(facts, who=who)
    assert isinstance(decision, Grant)
    return decision.granted.shard


def test_a_lease_names_the_round_its_base_and_its_end() -> None:
    decision = ask(NOTHING)
    assert isinstance(decision, Grant)
    granted = decision.granted
    assert (granted.lease_id, granted.contributor, granted.round, granted.base_version) == ("f" * 32, "ada", 1, "0.1.0")
    assert (granted.issued_at_ms, granted.expires_at_ms) == (START_MS, START_MS + 20_000)


def test_a_lease_ends_with_collecting() -> None:
    decision = ask(NOTHING, now_ms=START_MS + 55_000)
    assert isinstance(decision, Grant)
    assert decision.granted.expires_at_ms == START_MS + 60_000


def test_the_deadline_runs_from_the_first_lease() -> None:
    assert collecting_ends_ms(None, 500, 100) == 600
    assert collecting_ends_ms(300, 500, 100) == 400


def test_a_banned_key_gets_no_lease_and_is_told_why() -> None:
    with pytest.raises(BannedError, match=r"may not contribute to this run: it lies\. If that is a mistake"):
        ask(replace(NOTHING, banned="it lies"))


@pytest.mark.parametrize(
    ("facts", "now_ms", "words"),
    [
        (replace(NOTHING, round=None), START_MS, "no round is open yet"),
        (replace(NOTHING, round=replace(ROUND, phase="testing")), START_MS, "round 1 is testing"),
        (replace(NOTHING, round=replace(ROUND, number=3, phase="released")), START_MS, "complete after 3 rounds"),
        (NOTHING, START_MS + 60_000, "stops collecting"),
        (replace(NOTHING, accepted=2), START_MS, "has the 2 updates it wants"),
        (replace(NOTHING, leases=(replace(LEASE, update_digest=DIGEST),)), START_MS, "your update for round 1 is in"),
    ],
)
def test_whoever_must_wait_is_told_why(facts: LeaseFacts, now_ms: int, words: str) -> None:
    assert words in reason(ask(facts, now_ms=now_ms))


def test_the_same_contributor_gets_its_live_lease_again() -> None:
    facts = replace(NOTHING, leases=(LEASE,))
    assert ask(facts, nonce="b" * 32) == Repeat(LEASE)
    repeated = replace(facts, nonce_subject=LEASE.lease_id, nonce_lease=LEASE)
    assert ask(repeated) == Repeat(LEASE)
    assert isinstance(ask(facts, who="bob", nonce="b" * 32), Grant)


def test_an_expired_lease_is_replaced() -> None:
    facts = replace(NOTHING, leases=(LEASE,))
    assert isinstance(ask(facts, now_ms=START_MS + 20_000, nonce="b" * 32), Grant)


def test_a_nonce_that_was_used_is_refused() -> None:
    used = replace(NOTHING, leases=(LEASE,), nonce_subject=LEASE.lease_id, nonce_lease=LEASE)
    with pytest.raises(ReplayedMessageError):
        ask(used, now_ms=START_MS + 20_000)
    with pytest.raises(ReplayedMessageError):
        ask(replace(NOTHING, nonce_subject=DIGEST))


@pytest.mark.parametrize(("off_ms", "words"), [(301_000, "ahead of"), (-301_000, "behind")])
def test_a_wrong_clock_is_told_by_how_much(off_ms: int, words: str) -> None:
    with pytest.raises(ClockSkewError, match=f"301 s {words}"):
        ask(NOTHING, at_ms=START_MS + off_ms)
    assert isinstance(ask(NOTHING, at_ms=START_MS + off_ms // 301 * 300), Grant)


def test_another_run_is_refused() -> None:
    with pytest.raises(LeaseError, match="this coordinator runs toy"):
        ask(NOTHING, run="other")


def test_shards_are_shared_out_evenly() -> None:
    text = replace(LEASE, contributor="bob")
    tools = replace(text, lease_id="2" * 32, shard="tools")
    assert granted_shard(NOTHING) == "text"
    assert granted_shard(replace(NOTHING, leases=(text,))) == "tools"
    assert granted_shard(replace(NOTHING, leases=(text, tools))) == "text"
    assert granted_shard(replace(NOTHING, last_shard="tools")) == "tools"
    assert granted_shard(replace(NOTHING, leases=(tools,), last_shard="tools")) == "text"
    expired = replace(text, expires_at_ms=START_MS)
    assert granted_shard(replace(NOTHING, leases=(expired,))) == "text"


@settings(deadline=None, max_examples=200)
@given(
    phase=st.sampled_from(("collecting", "merging", "testing", "released", "rejected", "abandoned")),
    leases=st.lists(
        st.builds(
            replace,
            st.just(LEASE),
            lease_id=st.integers(0, 99).map(lambda i: f"{i:032x}"),
            contributor=st.sampled_from(("ada", "bob")),
            shard=st.sampled_from(POLICY.shards),
            expires_at_ms=st.integers(START_MS - 5, START_MS + 5),
            update_digest=st.sampled_from((None, DIGEST)),
        ),
        max_size=5,
    ),
    accepted=st.integers(0, 3),
)
def test_a_lease_is_given_only_while_collecting_and_never_twice(
    phase: str, leases: list[LeaseRow], accepted: int
) -> None:
    decision = ask(LeaseFacts(replace(ROUND, phase=phase), leases, accepted, None, None, None))
    live = [row for row in leases if row.contributor == "ada" and row.update_digest is None]
    live = [row for row in live if row.expires_at_ms > START_MS]
    if isinstance(decision, Grant):
        assert phase == "collecting"
        assert not live
        assert decision.granted.expires_at_ms > START_MS
    if isinstance(decision, Repeat):
        assert decision.lease in live


FACTS = UpdateFacts(known=None, lease=LEASE, round=ROUND, nonce_subject=None, uploader="ada", pending=0)
KNOWN = UpdateRow(
    DIGEST, "ada", "1" * 32, 1, BASE, 10, 20, 3, "checked", "fine", None, None, None, {}, None, START_MS, {}
)


def announce(facts: UpdateFacts, *, who: str = "ada", now_ms: int = START_MS, **changes: Any) -> Admit | Already:
    fields = {
        "run": "toy",
        "lease_id": "1" * 32,
        "round": 1,
        "base_digest": BASE,
        "update_digest": DIGEST,
        "size_bytes": 100,
        "tokens": 1,
        "examples": 1,
        "steps": 1,
        "loss_first": 1.0,
        "loss_last": 1.0,
        "nonce": "c" * 32,
        "at_ms": START_MS,
    }
    return decide_update(UpdateEnvelope(**(fields | changes)), who, facts, POLICY, now_ms=now_ms)


def test_an_update_under_a_live_lease_is_admitted() -> None:
    assert announce(FACTS) == Admit(LEASE)


def test_a_banned_key_gets_no_update_in_but_the_receipt_of_one_that_is_there() -> None:
    with pytest.raises(BannedError, match="may not contribute to this run: it lies"):
        announce(replace(FACTS, banned="it lies"))
    assert isinstance(announce(UpdateFacts(KNOWN, None, None, DIGEST, "ada", 9, banned="it lies")), Already)


def test_an_update_that_is_known_is_already_received_at_any_time() -> None:
    facts = UpdateFacts(KNOWN, None, None, DIGEST, "ada", 9)
    assert announce(facts, now_ms=START_MS + 10**9) == Already(KNOWN)


@pytest.mark.parametrize(
    ("facts", "changes", "refusal", "words"),
    [
        (FACTS, {"run": "other"}, LeaseError, "another run"),
        (replace(FACTS, known=KNOWN), {"who": "bob"}, ReplayedMessageError, "somebody else"),
        (replace(FACTS, known=KNOWN), {"lease_id": "2" * 32}, ReplayedMessageError, "under another lease"),
        (replace(FACTS, lease=None), {}, LeaseError, "no such lease"),
        (FACTS, {"who": "bob"}, LeaseError, "no such lease was given to your key"),
        (FACTS, {"round": 2}, LeaseError, "the lease is for round 1"),
        (replace(FACTS, lease=replace(LEASE, update_digest=BASE)), {}, ReplayedMessageError, "already brought"),
        (FACTS, {"now_ms": START_MS + 21_000}, LeaseError, "expired 1 s ago"),
        (replace(FACTS, round=replace(ROUND, phase="merging")), {}, LeaseError, "round 1 is merging"),
        (replace(FACTS, uploader="bob"), {}, ReplayedMessageError, "being uploaded by somebody else"),
        (replace(FACTS, nonce_subject="x"), {}, ReplayedMessageError, "nonce"),
        (FACTS, {"at_ms": START_MS - 301_000}, ClockSkewError, "behind"),
        (FACTS, {"at_ms": START_MS + 301_000}, ClockSkewError, "ahead"),
        (FACTS, {"base_digest": DIGEST}, WrongBaseError, r"the lease says 0\.1\.0"),
        (FACTS, {"size_bytes": 101}, OversizedUpdateError, "101 bytes, this run accepts up to 100"),
        (replace(FACTS, pending=2), {}, QuotaExceededError, "2 of your updates"),
    ],
)
def test_what_is_not_admitted_is_refused_with_a_reason(
    facts: UpdateFacts, changes: dict[str, Any], refusal: type[BarnraiseError], words: str
) -> None:
    with pytest.raises(refusal, match=words):
        announce(facts, **changes)


# -- leases that are given back, and one key on two machines ------------------------------------


def test_another_node_with_the_same_key_waits_instead_of_training_the_same_unit() -> None:
    facts = replace(NOTHING, leases=(LEASE,), holder="1" * 32)
    assert ask(facts, nonce="b" * 32, node="1" * 32) == Repeat(LEASE)
    said = ask(facts, nonce="b" * 32, node="2" * 32)
    assert "another node with this key holds the lease of round 1, for 20 s more" in reason(said)
    assert "--key FILE" in reason(said)


@pytest.mark.parametrize(("holder", "node"), [("", "2" * 32), ("1" * 32, ""), ("", "")])
def test_a_node_that_does_not_say_which_it_is_gets_its_lease_again(holder: str, node: str) -> None:
    assert ask(replace(NOTHING, leases=(LEASE,), holder=holder), nonce="b" * 32, node=node) == Repeat(LEASE)


def give_back(lease: LeaseRow | None, *, who: str = "ada", now_ms: int = START_MS, run: str = "toy") -> Any:
    release = LeaseRelease(run=run, lease_id="1" * 32)
    return decide_release(release, who, lease, POLICY, now_ms=now_ms)


def test_an_open_lease_can_be_given_back() -> None:
    answer = give_back(LEASE, now_ms=START_MS + 5_000)
    assert answer.released
    assert answer.reason == "the lease of round 1 ends now instead of in 15 s; text is free again"


def test_a_lease_that_is_over_or_brought_an_update_is_not_given_back_and_that_is_no_fault() -> None:
    assert not give_back(LEASE, now_ms=LEASE.expires_at_ms).released
    assert not give_back(replace(LEASE, update_digest=DIGEST)).released


def test_nobody_gives_back_what_is_not_theirs() -> None:
    for lease, who, run in ((None, "ada", "toy"), (LEASE, "bob", "toy"), (LEASE, "ada", "other")):
        with pytest.raises(LeaseError):
            give_back(lease, who=who, run=run)
