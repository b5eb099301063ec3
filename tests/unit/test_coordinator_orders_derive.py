"""When a derived model may be listed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coordinator.ledger import DerivedRow, ReleaseRow
from coordinator.ledger.order_events import ModelDerived
from coordinator.orders.decision import Done, Facts, Refuse
from coordinator.orders.kinds import Derive, as_json, order_of
from coordinator.orders.rules import decide


def row(name: str, version: str, parent: str = "toy") -> DerivedRow:
    return DerivedRow(name, version, 1, f"model of {name} {version}", f"{name} {version}", 9, parent, "0.1.0", "", 1)


FACTS = Facts(
    (ReleaseRow("0.1.0", 1, None, "model 0.1.0", "b3:0", 1, "first", "", None, None, None, 1, {}),),
    {"nightly": "0.1.0"},
    run="toy",
    derived=(row("toy-de", "0.1.0"),),
)
ORDER = Derive("toy-fr", "0.1.0", "its model", "its manifest", 9, "toy", "0.1.0", "model 0.1.0", "the first")


def test_a_child_of_a_release_is_listed() -> None:
    decision = decide(ORDER, FACTS)
    assert isinstance(decision, Done)
    event = ModelDerived("toy-fr", "0.1.0", "its model", "its manifest", 9, "toy", "0.1.0", "the first")
    assert decision.events == (event,)
    assert decision.reason == "toy-fr 0.1.0 is listed: the first"
    assert order_of(as_json(ORDER)) == ORDER


def test_a_child_of_a_child_is_listed() -> None:
    order = replace(ORDER, parent_name="toy-de", parent_digest="model of toy-de 0.1.0")
    assert isinstance(decide(order, FACTS), Done)


def test_listing_what_is_listed_does_nothing() -> None:
    again = replace(ORDER, name="toy-de", manifest_digest="toy-de 0.1.0")
    decision = decide(again, FACTS)
    assert isinstance(decision, Done)
    assert decision.events == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "toy"}, "the trunk's own name"),
        ({"name": "toy-de"}, "listed meanwhile"),
        ({"parent_version": "0.1.9"}, "not listed as that model"),
        ({"parent_digest": "another"}, "not listed as that model"),
        ({"parent_name": "toy-de"}, "not listed as that model"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_cannot_be_listed_is_refused(changes: dict[str, Any], words: str) -> None:
    decision = decide(replace(ORDER, **changes), FACTS)
    assert isinstance(decision, Refuse)
    assert words in decision.reason
