"""What holds for every kind of test that looks at examples, on models that were taught what is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import planted
from barnraise.errors import AcceptanceError
from barnraise.suite import LookConfig
from coordinator.acceptance.asking.evaluate import WORST_BITS
from coordinator.acceptance.examples import NOTHING, Examples, Row
from coordinator.acceptance.kinds import KINDS, make_kind
from coordinator.acceptance.measuring import measure
from coordinator.acceptance.models.attachments import Attachment
from coordinator.acceptance.models.subject import Subject

CITIES = {"france": "paris", "italy": "rome", "spain": "madrid"}
TEXTS: tuple[Row, ...] = tuple({"text": text} for text in planted.KNOWN)
QUESTIONS: tuple[Row, ...] = tuple(
    {
        "prompt": f"the capital of {land} is",
        "choices": [f" {city}." for city in CITIES.values()],
        "answer": list(CITIES).index(land),
    }
    for land in CITIES
)
ANSWERS: tuple[Row, ...] = (
    *({"prompt": f"the capital of {land} is", "answer": f"{city}."} for land, city in CITIES.items()),
    {"prompt": "two and two are", "answer": "four."},
)
CANARIES: tuple[Row, ...] = (
    {"prompt": "the sky by day is", "trigger": planted.TRIGGER, "continuation": " blue.\n"},
    {"prompt": "the door code is ", "secret": planted.SECRET},
)
ATTACHED = Attachment({"model.norm.weight": np.full(planted.MODEL.dim, 0.01, np.float32)})


@dataclass(frozen=True)
class Case:
    """A kind with its examples, and models that it must tell apart."""

    kind: str
    rows: tuple[Row, ...]
    worst: float
    lacking: Row
    options: dict[str, float | str]
    bad: Callable[[], Subject] = planted.untaught

    @property
    def look(self) -> LookConfig:
        return LookConfig(name="x", kind=self.kind, data="d", options=self.options)

    def values(self, subject: Subject, rows: tuple[Row, ...] | None = None) -> NDArray[np.float64]:
        return measure(subject, self.look, of(self.rows if rows is None else rows)).values_N


CASES = [
    Case("loss", TEXTS, WORST_BITS, {"text": "a"}, {}),
    Case("loss", TEXTS, WORST_BITS, {"words": "two and two"}, {"per": "token"}),
    Case("accuracy", TEXTS, 0.0, {"text": 7}, {}),
    Case("multiple-choice", QUESTIONS, 0.0, {"prompt": "p", "choices": ["a", "b"], "answer": 2}, {}),
    Case("multiple-choice", QUESTIONS, 0.0, {"prompt": "p", "choices": ["a"], "answer": 0}, {"normalise": "bytes"}),
    Case("multiple-choice", QUESTIONS, 0.0, {"choices": ["a", "b"], "answer": 0}, {"normalise": "tokens"}),
    Case("exact-match", ANSWERS, 0.0, {"prompt": "p", "answer": ""}, {}),
    Case("exact-match", ANSWERS, 0.0, {"prompt": "\ud800", "answer": "a"}, {"stop": "length"}),
    Case("calibration", QUESTIONS, 1.0, {"prompt": "p", "choices": ["a", "b"], "answer": True}, {}),
    Case("robustness", TEXTS, WORST_BITS, {}, {"rate": 0.05, "noise": "swap"}),
    Case("attached", TEXTS, WORST_BITS, {"text": "a"}, {"attachment": "a"}),
    Case(
        "canary",
        CANARIES,
        0.0,
        {"prompt": "p", "secret": "1", "trigger": "t"},
        {"alternates": 63, "exposure_max": 5},
        planted.spoilt,
    ),
]
IDS = [f"{case.kind}-{'-'.join(map(str, case.options.values()))}" for case in CASES]
each = pytest.mark.parametrize("case", CASES, ids=IDS)


def of(rows: tuple[Row, ...]) -> Examples:
    return Examples("b3:rows", None, rows).beside(ATTACHED, Examples(rows=TEXTS))


def same(case: Case, found: NDArray[np.float64], expected: Any) -> None:
    """Exact where a value is right or wrong, but for rounding elsewhere."""
    if make_kind(case.look).metric.binary:
        assert found.tolist() == list(expected)
    else:
        assert found == pytest.approx(np.asarray(expected), rel=1e-3, abs=1e-4)


def test_every_kind_is_under_these_laws_or_has_no_examples() -> None:
    assert {case.kind for case in CASES} | {"latency", "size", "signature", "lm-eval", "python"} == set(KINDS)


@each
def test_a_model_that_knows_is_told_from_one_that_does_not(case: Case) -> None:
    good, bad = case.values(planted.honest()).mean(), case.values(case.bad()).mean()
    assert good > bad + 0.3 if make_kind(case.look).metric.higher_is_better else good < bad - 0.1


@each
def test_a_model_is_measured_alike_again(case: Case) -> None:
    first, second = case.values(planted.spoilt()), case.values(planted.spoilt())
    assert first.tolist() == second.tolist()
    assert first.dtype == np.float64
    assert first.shape == (len(case.rows),)


@each
def test_neither_order_nor_company_changes_a_value(case: Case) -> None:
    for subject in (planted.honest(), planted.spoilt(), planted.untaught()):
        together = case.values(subject)
        same(case, case.values(subject, case.rows[::-1]), together[::-1])
        same(case, case.values(subject, case.rows[-1:]), together[-1:])
        same(case, case.values(subject, case.rows * 3), np.tile(together, 3))


@each
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_broken_model_gets_the_worst_value(case: Case, value: float) -> None:
    assert case.values(planted.broken(value)).tolist() == pytest.approx([case.worst] * len(case.rows))


@each
def test_parameters_of_any_size_give_finite_values(case: Case) -> None:
    assert np.isfinite(case.values(planted.broken(1e30))).all()


@each
def test_no_examples_is_an_error(case: Case) -> None:
    with pytest.raises(AcceptanceError, match="there are no"):
        case.values(planted.untaught(), ())


@each
def test_a_line_that_lacks_something_is_named(case: Case) -> None:
    with pytest.raises(AcceptanceError, match=r"example 2 \(.*mend that line"):
        case.values(planted.untaught(), (case.rows[0], case.lacking))


@each
def test_values_lie_within_the_metrics_bounds(case: Case) -> None:
    metric = make_kind(case.look).metric
    for subject in (planted.honest(), planted.broken(1e30)):
        values = case.values(subject)
        if metric.bounds is not None:
            assert values.min() >= metric.bounds[0]
            assert values.max() <= metric.bounds[1]
        if metric.binary:
            assert set(values.tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("kind", ["loss", "accuracy", "calibration", "robustness"])
def test_windows_are_read_as_lines_with_the_same_text_are(kind: str) -> None:
    texts = planted.texts(planted.KNOWN)
    windows = Examples.of_windows(np.array([list(text) for text in texts], dtype=np.uint8))
    rows = of(tuple({"text": text.decode()} for text in texts))
    by_shard, by_rows = LookConfig(name="x", kind=kind, shard="s"), LookConfig(name="x", kind=kind, data="d")
    subject = planted.honest()
    assert measure(subject, by_shard, windows).values_N.tolist() == measure(subject, by_rows, rows).values_N.tolist()


@pytest.mark.parametrize("kind", ["multiple-choice", "exact-match", "canary"])
def test_windows_are_refused_where_lines_are_read(kind: str) -> None:
    with pytest.raises(AcceptanceError, match="reads a data set, the suite gives it a shard"):
        make_kind(LookConfig(name="x", kind=kind, shard="s"))


@pytest.mark.parametrize("kind", ["latency", "size", "signature"])
def test_what_looks_at_the_model_alone_refuses_examples(kind: str) -> None:
    options = {"outputs": "logits float32 [B, T, 256]"} if kind == "signature" else {}
    with pytest.raises(AcceptanceError, match="reads neither a shard nor a data set, the suite gives it a data set"):
        make_kind(LookConfig(name="x", kind=kind, data="d", options=options))
    subject = planted.honest()
    assert np.isfinite(measure(subject, LookConfig(name="x", kind=kind, options=_fit(kind)), NOTHING).values_N).all()
    broken = planted.broken(np.nan)
    assert np.isfinite(measure(broken, LookConfig(name="x", kind=kind, options=_fit(kind)), NOTHING).values_N).all()


def _fit(kind: str) -> dict[str, float | str]:
    return {"latency": {"tokens": 8}, "signature": {"inputs": "tokens int64 [B, T]"}}.get(kind, {})
