"""Keys follow each other: history, bans and quotas stay with the contributor, and no attack moves them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.identity import Identity
from barnraise.key_messages import KeyAccepted, KeyHistory, Objection, RecoveryCard, RecoveryRequest, Rotation
from barnraise.message import Message, Signed
from coordinator.ledger.key_events import RecoveryEnded
from coordinator.ledger.order_events import ContributorBanned
from coordinator.orders import LiftBan, Revoke
from coordinator.orders.decision import Done, Refuse
from coordinator.orders.rules import decide
from coordinator.orders.settling import facts_for
from coordinator.succession import ROTATIONS_MAX
from doorstep import ADA, BOB, Answer, Doorstep, doorstep
from laws import examples

NEW, NEWER, MALLORY = (Identity.from_seed(letter * 32) for letter in (b"n", b"m", b"x"))
CODE = Identity.from_seed(b"r" * 32)
DAYS_3_MS = 3 * 24 * 3600 * 1000
NEXT_LEASE_MS = 30_000  # the first one has ended, and the round still collects
DATA = bytes(range(256)) * 4


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Doorstep]:
    with doorstep(tmp_path / "run") as opened:
        yield opened


def rotation(door: Doorstep, old: Identity = ADA, new: Identity = NEW, **changes: Any) -> Signed:
    fields = {"run": "toy", "old": old.public, "new": new.public, "nonce": door.nonce(), "at_ms": door.now_ms}
    return accepted(Rotation(**(fields | changes)), old, new)


def accepted(message: Message, by: Identity, new: Identity) -> Signed:
    return Signed.make(KeyAccepted(statement=Signed.make(message, by)), new)


def in_the_name_of(victim: Identity, message: Message, thief: Identity) -> Signed:
    """A statement that names a key and is signed by another, accepted by the thief's."""
    forged = Signed.make(message, thief).model_copy(update={"key": victim.public})
    return Signed.make(KeyAccepted(statement=forged), thief)


def rotate(door: Doorstep, old: Identity = ADA, new: Identity = NEW, **changes: Any) -> Answer:
    return door.post("/v1/keys/rotations", rotation(door, old, new, **changes))


def recovery(door: Doorstep, code: Identity = CODE, new: Identity = NEW, **changes: Any) -> Signed:
    fields = {"run": "toy", "new": new.public, "nonce": door.nonce(), "at_ms": door.now_ms}
    return accepted(RecoveryRequest(**(fields | changes)), code, new)


def recover(door: Doorstep, code: Identity = CODE, new: Identity = NEW, **changes: Any) -> Answer:
    return door.post("/v1/keys/recoveries", recovery(door, code, new, **changes))


def objection(door: Doorstep, claim: str, who: Identity = ADA) -> Answer:
    message = Objection(run="toy", claim=claim, nonce=door.nonce(), at_ms=door.now_ms)
    return door.post("/v1/keys/objections", Signed.make(message, who))


def card(whose: Identity = ADA, code: Identity = CODE) -> Signed:
    return Signed.make(RecoveryCard(contributor=whose.public), code)


def register(door: Doorstep, whose: Identity = ADA, code: Identity = CODE) -> Answer:
    return door.ask(whose, recovery=card(whose, code))


def said(answer: Answer) -> str:
    return str(answer.value["error"]["reason"])


def history(answer: Answer) -> KeyHistory:
    assert answer.status == 200, answer.body
    return KeyHistory.read(answer.value)


def no_trace(door: Doorstep, answer: Answer, before: Any) -> bool:
    return answer.status >= 400 and door.trace() == before


# -- rotation ---------------------------------------------------------------------------------


def test_after_a_rotation_everything_goes_on_under_one_contributor(door: Doorstep) -> None:
    assert door.sent(DATA).status == 200
    told = history(rotate(door))
    assert [(step.key, step.how) for step in told.keys] == [(ADA.public, "first"), (NEW.public, "rotated")]
    assert told.contributor == ADA.public
    assert "your update for round 1 is in" in door.ask(NEW).value["wait"]["reason"]  # the same contributor's
    assert [row.contributor for row in door.ledger.contributors()] == [ADA.public]
    again = door.ask(ADA)
    assert (again.status, again.code) == (403, "retired-key")
    assert NEW.public[:10] in said(again)


def test_a_lease_and_its_update_belong_to_whoever_has_the_new_key(door: Doorstep) -> None:
    lease = door.leased()
    rotate(door)
    repeated = door.ask(NEW).value["lease"]["body"]
    assert repeated == lease | {"contributor": NEW.public}
    envelope = door.envelope(lease, DATA, NEW)
    assert door.post("/v1/updates", envelope).status == 200
    receipt = door.put(DATA, 0, DATA).value["receipt"]["body"]
    assert receipt["contributor"] == NEW.public
    [row] = door.ledger.updates()
    assert (row.contributor, row.envelope["key"]) == (ADA.public, NEW.public)


def test_an_upload_that_a_rotation_interrupts_is_finished_by_the_new_key(door: Doorstep) -> None:
    lease = door.leased()
    door.post("/v1/updates", door.envelope(lease, DATA))
    door.put(DATA, 0, DATA[:100])
    rotate(door)
    refused = door.post("/v1/updates", door.envelope(lease, DATA))
    assert refused.code == "retired-key"
    assert door.post("/v1/updates", door.envelope(lease, DATA, NEW)).value["offset"] == 100
    assert door.put(DATA, 100, DATA[100:]).value["receipt"]["body"]["contributor"] == NEW.public


def test_a_receipt_that_was_lost_is_given_to_the_new_key(door: Doorstep) -> None:
    lease = door.leased()
    door.post("/v1/updates", door.envelope(lease, DATA))
    door.put(DATA, 0, DATA)
    rotate(door)
    answer = door.post("/v1/updates", door.envelope(lease, DATA, NEW))
    assert answer.value["receipt"]["body"]["contributor"] == NEW.public


def test_the_same_rotation_twice_is_one(door: Doorstep) -> None:
    door.leased()
    first = rotation(door)
    history(door.post("/v1/keys/rotations", first))
    seq = door.ledger.last_seq()
    door.now_ms += DAYS_3_MS
    replayed = history(door.post("/v1/keys/rotations", first))
    assert "already" in replayed.reason
    assert door.ledger.last_seq() == seq


def test_a_replay_after_another_rotation_changes_nothing(door: Doorstep) -> None:
    door.leased()
    first = rotation(door)
    history(door.post("/v1/keys/rotations", first))
    history(rotate(door, NEW, NEWER))
    assert history(door.post("/v1/keys/rotations", first)).keys[-1].key == NEWER.public
    assert door.ledger.keys.key_of(ADA.public) == NEWER.public


@pytest.mark.parametrize(
    "forged", ["by mallory", "in ada's name", "accepted by mallory", "altered", "as another message", "one key"]
)
def test_a_forged_rotation_is_refused(door: Doorstep, forged: str) -> None:
    door.leased()
    body = Rotation(run="toy", old=ADA.public, new=MALLORY.public, nonce=door.nonce(), at_ms=door.now_ms)
    signed = {
        "by mallory": accepted(body, MALLORY, MALLORY),
        "in ada's name": in_the_name_of(ADA, body, MALLORY),
        "accepted by mallory": accepted(body.model_copy(update={"new": NEW.public}), ADA, MALLORY),
        "altered": rotation(door).model_copy(update={"body": rotation(door, ADA, MALLORY).body, "key": MALLORY.public}),
        "as another message": Signed.make(RecoveryCard(contributor=ADA.public), MALLORY),
        "one key": Signed.make(body, ADA),
    }[forged]
    before = door.trace()
    answer = door.post("/v1/keys/rotations", signed)
    assert no_trace(door, answer, before)
    assert answer.code in {"bad-signature", "unknown-field"}


@pytest.mark.parametrize(("changes", "code"), [({"run": "other"}, "lease"), ({"at_ms": 1}, "clock-skew")])
def test_a_rotation_is_for_one_run_and_one_moment(door: Doorstep, changes: dict[str, Any], code: str) -> None:
    door.leased()
    before = door.trace()
    answer = rotate(door, **changes)
    assert no_trace(door, answer, before)
    assert answer.code == code


def test_of_two_rotations_that_race_one_wins(door: Doorstep) -> None:
    door.leased()
    one, two = rotation(door, ADA, NEW), rotation(door, ADA, MALLORY)
    assert door.post("/v1/keys/rotations", one).status == 200
    before = door.trace()
    late = door.post("/v1/keys/rotations", two)
    assert no_trace(door, late, before)
    assert (late.code, NEW.public[:10] in said(late)) == ("retired-key", True)


def test_a_rotation_that_was_decided_on_old_facts_is_decided_again(
    door: Doorstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.leased()
    other, record, first = rotation(door, ADA, MALLORY), door.ledger.record, [True]

    def recording(*events: Any, **options: Any) -> Any:
        if first.pop() if first else False:
            assert door.post("/v1/keys/rotations", other).status == 200
        return record(*events, **options)

    monkeypatch.setattr(door.ledger, "record", recording)
    late = rotate(door)
    assert late.code == "retired-key"
    assert door.ledger.keys.key_of(ADA.public) == MALLORY.public


@pytest.mark.parametrize("taken", ["another contributor's", "its own", "a retired one", "another chain's", "claimed"])
def test_a_key_that_is_or_was_somebodys_takes_no_place(door: Doorstep, taken: str) -> None:
    register(door)
    door.leased(BOB)
    target = {"another contributor's": BOB, "its own": ADA, "a retired one": ADA, "another chain's": NEWER}.get(taken)
    old = ADA
    if taken == "a retired one":
        rotate(door, ADA, NEW)
        old = NEW
    elif taken == "another chain's":
        rotate(door, BOB, NEWER)
    elif taken == "claimed":
        recover(door, CODE, NEWER)
        old, target = BOB, NEWER
    assert target is not None
    before = door.trace()
    answer = rotate(door, old, target)
    assert no_trace(door, answer, before)
    assert answer.code == "succession"


def test_nobody_fills_the_ledger_with_rotations(door: Doorstep) -> None:
    register(door)
    chain = [ADA, *(Identity.from_seed(bytes([number]) * 32) for number in range(150, 150 + ROTATIONS_MAX))]
    for old, new in pairwise(chain):
        assert rotate(door, old, new).status == 200
    before = door.trace()
    answer = rotate(door, chain[-1], NEW)
    assert no_trace(door, answer, before)
    assert answer.code == "quota-exceeded"
    assert history(recover(door)).pending is not None  # a lost key can still be replaced


def test_whom_nobody_knows_has_no_history_to_keep(door: Doorstep) -> None:
    before = door.trace()
    answer = rotate(door, MALLORY, NEW)
    assert no_trace(door, answer, before)
    assert "join with the new key" in said(answer)


@settings(deadline=None, max_examples=examples(10))
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_whatever_is_rotated_a_key_belongs_to_one_contributor(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]]
) -> None:
    people = [ADA, BOB, NEW, NEWER, MALLORY]
    with doorstep(tmp_path_factory.mktemp("run") / "run") as door:
        door.leased(ADA)
        door.leased(BOB)
        for old, new in pairs:
            rotate(door, people[old], people[new])
        keys = door.ledger.keys
        chains = [[first.public, *(row.key for row in keys.chain(first.public))] for first in (ADA, BOB)]
        assert len({key for chain in chains for key in chain}) == sum(len(chain) for chain in chains)
        for chain in chains:
            assert [keys.contributor_of(key) for key in chain] == [chain[0]] * len(chain)
            assert keys.key_of(chain[0]) == chain[-1]
            assert [row.replaces for row in keys.chain(chain[0])] == chain[:-1]
            assert [door.ask(identity_of(key, people)).code for key in chain[:-1]] == ["retired-key"] * (len(chain) - 1)


def identity_of(key: str, people: list[Identity]) -> Identity:
    return next(one for one in people if one.public == key)


# -- bans -------------------------------------------------------------------------------------


def test_a_ban_follows_to_the_new_key(door: Doorstep) -> None:
    door.leased()
    door.record(ContributorBanned(ADA.public, 0, "poison"))
    assert history(rotate(door)).banned == "poison"
    refused = door.ask(NEW)
    assert (refused.status, refused.code) == (403, "banned")


def test_whoever_is_banned_by_a_new_key_is_banned_as_a_whole(door: Doorstep) -> None:
    door.sent(DATA)
    rotate(door)
    rotate(door, NEW, NEWER)
    for name in (ADA.public[:10], NEW.public[:10], NEWER.public):
        order = Revoke(name, 0, "poison")
        decided = decide(order, facts_for(order, door.ledger))
        assert isinstance(decided, Done)
        assert decided.events == (ContributorBanned(ADA.public, 0, "poison"),)
    door.record(*decided.events)
    assert door.ask(NEWER).code == "banned"
    lift = LiftBan(NEW.public[:10], "a mistake")
    lifted = decide(lift, facts_for(lift, door.ledger))
    assert isinstance(lifted, Done)
    door.record(*lifted.events)
    assert door.ask(NEWER).status == 200


# -- recovery ---------------------------------------------------------------------------------


def test_a_recovery_key_puts_a_new_key_in_the_lost_ones_place(door: Doorstep) -> None:
    register(door)
    told = history(recover(door))
    assert told.pending is not None
    assert told.pending.new == NEW.public
    waits = door.ask(NEW).value["wait"]
    assert "takes effect in 72.0 h" in waits["reason"]
    door.now_ms += DAYS_3_MS
    assert door.ask(NEW).status == 200
    found = history(door.call("GET", f"/v1/keys/{ADA.public}"))
    assert [(step.key, step.how) for step in found.keys] == [(ADA.public, "first"), (NEW.public, "recovered")]
    assert (found.pending, found.recovery) == (None, CODE.public)
    assert door.ask(ADA).code == "retired-key"


def test_the_old_key_finds_itself_replaced_when_the_time_is_over(door: Doorstep) -> None:
    register(door)
    recover(door)
    door.now_ms += DAYS_3_MS
    assert door.ask(ADA).code == "retired-key"
    assert door.ledger.keys.key_of(ADA.public) == NEW.public


def test_a_key_that_is_alive_is_told_and_its_objection_ends_the_claim(door: Doorstep) -> None:
    register(door)
    pending = history(recover(door, CODE, MALLORY)).pending
    assert pending is not None
    assert "barnraise identity object" in door.ask(ADA).value["notice"]
    told = history(objection(door, pending.claim))
    assert (told.pending, told.recovery, told.keys[-1].key) == (None, None, ADA.public)
    door.now_ms += DAYS_3_MS
    assert door.ask(ADA).status == 200
    assert door.ledger.keys.contributor_of(MALLORY.public) == MALLORY.public


def test_against_an_objection_the_same_code_does_nothing_more(door: Doorstep) -> None:
    register(door)
    first = recovery(door, CODE, MALLORY)
    door.post("/v1/keys/recoveries", first)
    objection(door, str(first.body["statement"]["body"]["nonce"]))
    for again in (first, recovery(door, CODE, MALLORY), recovery(door, CODE, NEW)):
        before = door.trace()
        assert no_trace(door, door.post("/v1/keys/recoveries", again), before)
    door.now_ms += NEXT_LEASE_MS
    assert "was objected to" in register(door).value["notice"]  # the spent code is not taken up again
    assert door.ledger.keys.recovery(ADA.public) is None


def test_a_new_code_can_be_registered_after_an_objection(door: Doorstep) -> None:
    register(door)
    pending = history(recover(door, CODE, MALLORY)).pending
    assert pending is not None
    objection(door, pending.claim)
    door.now_ms += NEXT_LEASE_MS
    assert register(door, ADA, NEWER).value["notice"] is None
    registered = door.ledger.keys.recovery(ADA.public)
    assert registered is not None
    assert registered.recovery_key == NEWER.public


@pytest.mark.parametrize("who", [BOB, MALLORY])
def test_only_the_key_in_use_objects(door: Doorstep, who: Identity) -> None:
    register(door)
    door.leased(BOB)
    pending = history(recover(door)).pending
    assert pending is not None
    before = door.trace()
    assert no_trace(door, objection(door, pending.claim, who), before)


def test_an_objection_after_the_time_is_too_late(door: Doorstep) -> None:
    register(door)
    pending = history(recover(door)).pending
    assert pending is not None
    door.now_ms += DAYS_3_MS
    assert objection(door, pending.claim).code == "retired-key"


def test_a_forged_recovery_or_objection_is_refused(door: Doorstep) -> None:
    register(door)
    request = RecoveryRequest(run="toy", new=MALLORY.public, nonce=door.nonce(), at_ms=door.now_ms)
    before = door.trace()
    forged = door.post("/v1/keys/recoveries", in_the_name_of(CODE, request, MALLORY))
    assert no_trace(door, forged, before)
    assert forged.code == "bad-signature"
    pending = history(recover(door)).pending
    assert pending is not None
    message = Objection(run="toy", claim=pending.claim, nonce=door.nonce(), at_ms=door.now_ms)
    signed = Signed.make(message, MALLORY).model_copy(update={"key": ADA.public})
    assert door.post("/v1/keys/objections", signed).code == "bad-signature"
    assert door.ledger.keys.open_claim(ADA.public) is not None


def test_a_wrong_code_recovers_nothing(door: Doorstep) -> None:
    register(door)
    before = door.trace()
    answer = recover(door, MALLORY)
    assert no_trace(door, answer, before)
    assert answer.code == "succession"


def test_a_thief_of_the_key_cannot_rotate_away_from_a_recovery(door: Doorstep) -> None:
    register(door)
    recover(door)
    before = door.trace()
    answer = rotate(door, ADA, MALLORY)
    assert no_trace(door, answer, before)
    assert "object" in said(answer)


def test_a_recovery_works_for_whoever_rotated_before(door: Doorstep) -> None:
    register(door)
    rotate(door, ADA, NEWER)
    history(recover(door))
    door.now_ms += DAYS_3_MS
    door.ask(NEW)
    assert [row.key for row in door.ledger.keys.chain(ADA.public)] == [NEWER.public, NEW.public]


def test_a_second_claim_waits_for_the_first(door: Doorstep) -> None:
    register(door)
    recover(door)
    answer = recover(door, CODE, MALLORY)
    assert (answer.status, "another recovery" in said(answer)) == (409, True)
    assert history(recover(door)).reason.startswith(NEW.public[:10])  # asked again, the same answer


@pytest.mark.parametrize("how", ["another's card", "another's code", "a second code"])
def test_a_recovery_card_that_does_not_fit_is_not_registered_and_keeps_nobody_from_work(
    door: Doorstep, how: str
) -> None:
    register(door)
    if how == "another's card":
        answer = door.ask(BOB, recovery=card(ADA, MALLORY))
    elif how == "another's code":
        answer = door.ask(BOB, recovery=card(BOB, CODE))
    else:
        answer = door.ask(ADA, recovery=card(ADA, MALLORY))
    assert answer.status == 200
    assert answer.value["lease"] is not None
    assert answer.value["notice"] is not None
    assert door.ledger.keys.recovered_by(MALLORY.public) is None
    recovered = door.ledger.keys.recovered_by(CODE.public)
    assert recovered is not None
    assert recovered.contributor == ADA.public


def test_a_forged_card_is_refused(door: Doorstep) -> None:
    forged = card(ADA, MALLORY).model_copy(update={"key": CODE.public})
    assert door.ask(ADA, recovery=forged).code == "bad-signature"


def test_everything_follows_from_the_events(door: Doorstep) -> None:
    register(door)
    rotate(door, ADA, NEWER)
    recover(door)
    door.now_ms += DAYS_3_MS
    door.ask(NEW)
    before = door.call("GET", f"/v1/keys/{NEW.public}").body
    door.ledger.rebuild()
    assert door.call("GET", f"/v1/keys/{NEW.public}").body == before
    ended = [row.event for row in door.ledger.events_after(0) if isinstance(row.event, RecoveryEnded)]
    assert [event.done for event in ended] == [True]


def test_a_key_that_nobody_has_seen_has_no_history(door: Doorstep) -> None:
    assert door.call("GET", f"/v1/keys/{MALLORY.public}").status == 404
    assert door.call("GET", "/v1/keys/x").status == 404
    assert door.call("POST", "/v1/keys/elsewhere", b"{}").status == 404


def test_an_order_for_no_key_of_the_run_is_refused(door: Doorstep) -> None:
    door.leased()
    order = Revoke(MALLORY.public, 0, "who")
    assert isinstance(decide(order, facts_for(order, door.ledger)), Refuse)
