"""Which changes of a test make it another one."""

from __future__ import annotations

from typing import Any

import pytest

from barnraise.digest import digest_bytes
from barnraise.promises import compare, promises_of
from barnraise.suite import SuiteConfig
from coordinator.acceptance.kinds.loss import Loss
from coordinator.acceptance.promised import with_questions

ONE, OTHER = digest_bytes(b"one"), digest_bytes(b"other")
TEST = {"name": "t", "kind": "loss", "data": "lines", "examples": 24, "margin": 0.05}


def promise_of(
    alpha: float = 0.05, digest: str = ONE, path: str = "a.jsonl", data: str = "lines", **changes: Any
) -> Any:
    test = {**TEST, "data": data, **changes}
    suite = SuiteConfig.model_validate(
        {"alpha": alpha, "data": {data: {"path": path, "digest": digest}}, "tests": [test]}
    )
    (row,) = suite.tests
    summary = with_questions(suite, {row.name: {"supported": row.supported, "margin": row.margin}})
    return promises_of(summary).get(row.name)


@pytest.mark.parametrize(
    ("changes", "fate"),
    [
        ({}, "same"),
        ({"guards": "prose", "weight": 2.0, "timeout_s": 9.0, "memory_mb": 99, "sequential": True}, "same"),
        ({"path": "b.jsonl", "data": "rows"}, "same"),
        ({"digest": OTHER}, "another"),
        ({"kind": "accuracy"}, "another"),
        ({"kind": "robustness"}, "another"),
        ({"margin": 0.1}, "looser"),
        ({"margin": 0.01}, "stricter"),
        ({"examples": 23}, "looser"),
        ({"examples": 25}, "stricter"),
        ({"pool": 240}, "stricter"),
        ({"alpha": 0.1}, "looser"),
    ],
    ids=str,
)
def test_what_a_change_of_a_suite_makes_of_a_test(changes: dict[str, Any], fate: str) -> None:
    assert compare(promise_of(), promise_of(**changes)) == fate


def test_other_options_and_newer_code_ask_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    before = promise_of(kind="robustness", options={"rate": 0.1})
    assert compare(before, promise_of(kind="robustness", options={"rate": 0.2})) == "another"
    before = promise_of()
    monkeypatch.setattr(Loss, "version", Loss.version + 1)
    assert compare(before, promise_of()) == "another"


def test_a_test_that_is_not_supported_promises_nothing() -> None:
    assert promise_of(supported=False) is None


def test_numbers_of_a_test_that_the_suite_does_not_have_stay_as_they_are() -> None:
    suite = SuiteConfig.model_validate({"tests": [{"name": "size", "kind": "size"}]})
    gone = {"gone": {"supported": True, "margin": 1.0}}
    assert with_questions(suite, gone) == gone
