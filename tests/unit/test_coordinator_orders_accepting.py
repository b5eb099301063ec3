"""What may be released though tests fail: limits from what was seen, and what they cover."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import OrderRefusedError
from coordinator.ledger import OrderRow
from coordinator.ledger.order_events import OrderSettled
from coordinator.orders import AcceptRegression, WithdrawAcceptance
from coordinator.orders.accepting import failing, limits_of, why_not_covered
from coordinator.orders.decision import Done, Facts, Refuse, Wait
from coordinator.orders.kinds import as_json, order_of
from coordinator.orders.rules import decide

AT = {"nightly": "0.1.3"}


def row(effect: float, passed: bool = False, **changes: Any) -> dict[str, Any]:
    """A test's numbers, lower is better, half a unit of doubt to both sides."""
    numbers = {"effect": effect, "low": effect - 0.5, "high": effect + 0.5, "margin": 0.25, "better": "lower"}
    return {**numbers, "supported": True, "passed": passed, "asks": "b3:a", "reason": "as it is", **changes}


SEEN = {"text": row(1.0), "tools": row(0.0, passed=True), "aside": row(9.0, supported=False)}
ORDER = AcceptRegression("0.1.3", 7, limits_of(SEEN, ["text"], 7), "traded")


def test_supported_tests_that_did_not_pass_are_failing() -> None:
    assert list(failing(SEEN)) == ["text"]


def test_what_was_seen_its_interval_and_its_margin_are_the_limit() -> None:
    assert ORDER.tests == {"text": {"asks": "b3:a", "at_most": 1.75}}
    higher = row(-1.0, better="higher")
    assert limits_of({"share": higher}, ["share", "share"], 7) == {"share": {"asks": "b3:a", "at_most": 1.75}}


@pytest.mark.parametrize(
    ("summary", "tests", "reason"),
    [
        (SEEN, ["tools"], "tools did not fail in round 7, there is nothing to accept: as it is"),
        (SEEN, ["new"], "new did not fail in round 7, there is nothing to accept: it was not asked"),
        ({**SEEN, "tools": row(1.0)}, ["text"], "round 7 fails tools too"),
        ({"text": row(0.0, low=0.0, high=0.0)}, ["text"], "failed in round 7 without being worse"),
        ({"text": row(-0.6)}, ["text"], "failed in round 7 without being worse"),
    ],
)
def test_what_was_not_seen_to_be_worse_is_not_accepted(summary: Any, tests: list[str], reason: str) -> None:
    with pytest.raises(OrderRefusedError, match=reason):
        limits_of(summary, tests, 7)


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        (SEEN, None),
        ({"text": row(1.75)}, None),
        ({"text": row(0.1)}, None),
        ({**SEEN, "aside": row(99.0, supported=False)}, None),
        ({"text": row(1.76)}, "text is worse by 1.76, accepted was up to 1.75"),
        ({**SEEN, "tools": row(0.1)}, "tools failed too"),
        ({"text": row(1.0, asks="b3:b")}, "asks something else since round 7"),
        ({"text": row(0.0, low=0.0, high=0.0, reason="could not be measured")}, "failed otherwise: could not be"),
    ],
)
def test_what_an_order_covers(summary: Any, reason: str | None) -> None:
    why_not = why_not_covered(ORDER, summary)
    assert why_not is None if reason is None else reason in (why_not or "")


EFFECTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.floats(0, 9), min_size=1)


@settings(deadline=None)
@given(seen=EFFECTS, found=EFFECTS)
def test_whoever_accepts_something_accepts_what_is_better(seen: dict[str, float], found: dict[str, float]) -> None:
    order = AcceptRegression(
        "0.1.3", 7, limits_of({name: row(by) for name, by in seen.items()}, list(seen), 7), "traded"
    )
    assert why_not_covered(order, {name: row(by) for name, by in seen.items()}) is None
    if why_not_covered(order, {name: row(by) for name, by in found.items()}) is None:
        for better in ({name: row(by / 2) for name, by in found.items()}, dict([(name, row(0)) for name in found][:1])):
            assert why_not_covered(order, better) is None


# -- the order itself --------------------------------------------------------------------------


def earlier(order: AcceptRegression) -> OrderRow:
    return OrderRow("first", 1, as_json(order), 1, None, None, None, None)


def test_an_acceptance_waits_for_its_candidate() -> None:
    decided = decide(ORDER, Facts((), AT))
    assert isinstance(decided, Wait)
    assert "text may be worse than in 0.1.3 by 1.75, as seen in round 7" in decided.reason
    assert order_of(as_json(ORDER)) == ORDER


def test_it_is_over_when_the_trunk_has_moved() -> None:
    away = decide(ORDER, Facts((), {"nightly": "0.1.4"}, trunk_moved=True))
    assert isinstance(away, Refuse)
    assert "than in 0.1.3, and the trunk goes on from 0.1.4 since" in away.reason
    back = decide(ORDER, Facts((), AT, trunk_moved=True))
    assert isinstance(back, Refuse)
    assert "the trunk has moved since" in back.reason
    meanwhile = decide(ORDER, Facts((), {"nightly": "0.1.4"}))
    assert isinstance(meanwhile, Refuse), "it moved between looking and ordering"


def test_one_acceptance_is_enough() -> None:
    again = decide(ORDER, Facts((), AT, accepted=[earlier(ORDER)]))
    assert isinstance(again, Done)
    assert again.events == ()
    other = decide(replace(ORDER, reason="else"), Facts((), AT, accepted=[earlier(ORDER)]))
    assert isinstance(other, Refuse)
    assert "order first accepts text already" in other.reason


@pytest.mark.parametrize("order", [replace(ORDER, tests={}), replace(ORDER, reason="")])
def test_without_a_test_or_a_reason_nothing_is_accepted(order: AcceptRegression) -> None:
    assert isinstance(decide(order, Facts((), AT)), Refuse)


def test_what_was_accepted_is_taken_back() -> None:
    taken_back = decide(WithdrawAcceptance("no"), Facts((), AT, accepted=[earlier(ORDER)]))
    assert isinstance(taken_back, Done)
    assert taken_back.events == (OrderSettled("first", False, "taken back: no"),)
    assert isinstance(decide(WithdrawAcceptance(), Facts((), AT)), Refuse)
