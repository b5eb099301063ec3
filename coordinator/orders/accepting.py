"""Accept by name that tests get worse: on which evidence, how much worse, and which candidates that covers.

    round 7 fails loss-text --> accept(["loss-text"]) --> the order stands, with what was seen as its limit
                                    its candidate is still there        --> released on the next turn
                                    a later one fails nothing else, and --> released, and the order is used up
                                    is not worse than what was seen
                                    the trunk moves on otherwise        --> the order is over, unused

A candidate of a round that has ended is never released: its updates are unmerged, and contributors
may have folded them back into the next ones, where they would count twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from barnraise.errors import OrderRefusedError
from barnraise.suite import SuiteConfig
from coordinator.ledger import Ledger, ReleaseRow, RoundRow
from coordinator.orders.decision import Wait
from coordinator.orders.kinds import AcceptRegression, order_of
from coordinator.orders.settling import outlook
from coordinator.round_events import Accepted, Judged

__all__ = ["accept", "failing", "limits_of", "unless_accepted", "waiting", "why_not_covered"]

Rows = Mapping[str, Mapping[str, Any]]


def accept(
    ledger: Ledger, suite: SuiteConfig, tests: Sequence[str], reason: str, number: int | None = None
) -> AcceptRegression:
    """The order that accepts that tests get worse, as a round of the trunk's newest release shows it.

    Args:
        number: of that round; None: the newest whose candidate failed.

    Raises:
        OrderRefusedError: a test that the suite does not have or promise, or that did not fail, or nothing that could
            be released for it.
    """
    known = {test.name: test.supported for test in suite.tests}
    for name in tests:
        if name not in known:
            raise OrderRefusedError(f"the suite has no test {name[:48]!a}; it has {', '.join(known)}")
        if not known[name]:
            raise OrderRefusedError(f"{name} is not supported: it may get worse as it is, nothing has to be accepted")
    head = ledger.head()
    if head is None:
        raise OrderRefusedError("nothing was released yet, so nothing can be worse than it")
    row = _evidence(ledger, head, number)
    assert row.verdict is not None
    return AcceptRegression(head.version, row.number, limits_of(row.verdict["tests"], tests, row.number), reason)


def failing(summary: Rows) -> dict[str, Mapping[str, Any]]:
    """The supported tests that a candidate failed, of test name -> numbers as ``RoundTested`` has them."""
    return {name: row for name, row in sorted(summary.items()) if row["supported"] and not row["passed"]}


def limits_of(summary: Rows, tests: Sequence[str], number: int) -> dict[str, dict[str, Any]]:
    """How much worse tests may get: as much as a round's verdict leaves possible, and the test's own margin.

    Raises:
        OrderRefusedError: one of them did not fail by being worse, or others failed too.
    """
    failed = failing(summary)
    for name in tests:
        if name not in failed:
            why = summary[name]["reason"] if name in summary else "it was not asked"
            raise OrderRefusedError(f"{name} did not fail in round {number}, there is nothing to accept: {why}")
        if _worst(failed[name]) <= 0:
            raise OrderRefusedError(
                f"{name} failed in round {number} without being worse, there is nothing to accept: "
                f"{failed[name]['reason']}"
            )
    if others := [name for name in failed if name not in tests]:
        options = " ".join(f"--accept-regression {name}" for name in others)
        raise OrderRefusedError(
            f"round {number} fails {', '.join(others)} too, so nothing would be released; accept all or none: {options}"
        )
    return {
        name: {"asks": failed[name].get("asks"), "at_most": _worst(failed[name]) + failed[name]["margin"]}
        for name in dict.fromkeys(tests)
    }


def why_not_covered(order: AcceptRegression, summary: Rows) -> str | None:
    """Why a candidate that fails tests is not released for an order; None when it is."""
    failed = failing(summary)
    if others := [name for name in failed if name not in order.tests]:
        return f"{', '.join(others)} failed too, and nobody accepted that"
    for name, row in failed.items():
        limit = order.tests[name]
        if row.get("asks") != limit["asks"]:
            return f"{name} asks something else since round {order.round}, where it was accepted"
        if _worst(row) <= 0:
            return f"{name} did not get worse, it failed otherwise: {row['reason']}"
        if (by := _worse_by(row, row["effect"])) > limit["at_most"]:
            return f"{name} is worse by {by:.4g}, accepted was up to {limit['at_most']:.4g}"
    return None


def waiting(ledger: Ledger) -> tuple[str, AcceptRegression] | None:
    """The order that accepts a regression and waits for its candidate, and its name; None without one."""
    for row in ledger.orders(waiting=True):
        if row.order.get("kind") == AcceptRegression.kind and isinstance(outlook(row, ledger), Wait):
            order = order_of(row.order)
            assert isinstance(order, AcceptRegression)
            return row.order_id, order
    return None


def unless_accepted(ledger: Ledger, judged: Judged, summary: Rows) -> Judged | Accepted:
    """A verdict against a candidate, or that all which is wrong with it was accepted."""
    found = waiting(ledger)
    if found is None or judged.passed:
        return judged
    order_id, order = found
    if (why_not := why_not_covered(order, summary)) is not None:
        return replace(judged, reason=f"{judged.reason}; order {order_id} does not cover it: {why_not}")
    worse = ", ".join(failing(summary))
    reason = f"the operator accepted that {worse} got worse: {order.reason}"
    return Accepted(judged.candidate, order_id, reason, judged.now_ms)


def _evidence(ledger: Ledger, head: ReleaseRow, number: int | None) -> RoundRow:
    """The round that shows what is accepted: its candidate failed against the release that the trunk goes on from."""
    if number is None:
        for row in reversed(ledger.rounds()):
            if row.base_version == head.version and row.verdict is not None and not row.verdict["passed"]:
                return row
        raise OrderRefusedError(
            f"nothing to release: no candidate made from {head.version} has failed its tests. What gets worse is "
            "accepted once it was seen; see: barnraise round ls"
        )
    found = ledger.round(number)
    if found is None:
        raise OrderRefusedError(f"there is no round {number}; see: barnraise round ls")
    if found.base_version != head.version:
        raise OrderRefusedError(
            f"round {number} was open from {found.base_version}, the trunk goes on from {head.version}: what it shows "
            "says nothing of the next release"
        )
    if found.verdict is None:
        raise OrderRefusedError(f"nothing to release: round {number} has no verdict, it is {found.phase}")
    if found.verdict["passed"]:
        raise OrderRefusedError(f"round {number} failed no supported test, there is nothing to accept")
    return found


def _worst(row: Mapping[str, Any]) -> float:
    """How much worse a test may have got, by its interval, in the metric's unit."""
    return _worse_by(row, row["low"] if row.get("better") == "higher" else row["high"])


def _worse_by(row: Mapping[str, Any], effect: float) -> float:
    return -effect if row.get("better") == "higher" else effect
