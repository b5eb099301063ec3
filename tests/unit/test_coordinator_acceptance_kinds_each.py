"""What each kind of test measures, in particular."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import planted
from barnraise.errors import AcceptanceError
from barnraise.model_config import ByteLMConfig
from barnraise.suite import LookConfig, load_suite_config
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.asking.choices import Answered
from coordinator.acceptance.asking.continuations import score_continuations, score_ends
from coordinator.acceptance.asking.evaluate import score_texts
from coordinator.acceptance.asking.generating import generate
from coordinator.acceptance.asking.noise import draws_of, with_noise
from coordinator.acceptance.examples import NOTHING, Examples, Row, parse_rows, read_data_set
from coordinator.acceptance.kinds import Budget, Kind, make_kind
from coordinator.acceptance.kinds.calibration import calibration_error
from coordinator.acceptance.kinds.canary import alternates_of
from coordinator.acceptance.kinds.latency import WARM_UP, pass_seconds
from coordinator.acceptance.kinds.rule import Measured
from coordinator.acceptance.measuring import measure
from coordinator.acceptance.models.subject import ByteSubject
from merge.architectures import build, flat_of, space_of


def kind(name: str, data: str | None = "d", **options: float | str) -> Kind:
    return make_kind(LookConfig(name="x", kind=name, data=data, options=options))  # type: ignore[arg-type]


def of(*rows: Row) -> Examples:
    return Examples("b3:rows", None, rows)


def alone(name: str, **options: float | str) -> Measured:
    look = LookConfig(name="x", kind=name, options=options)  # type: ignore[arg-type]
    return measure(planted.honest(), look, NOTHING)


# -- continuations and generation ----------------------------------------------------------


def test_prompt_and_continuation_cost_what_the_text_costs() -> None:
    """The bits of a text are those of its second half after the first, and so on down to its first byte."""
    text = planted.KNOWN[0].encode()
    cuts = [1, 7, 20, len(text)]
    parts = [(text[:start], text[start:end]) for start, end in pairwise(cuts)]
    bits = score_continuations(planted.spoilt(), parts).bits_N
    assert bits.sum() == pytest.approx(score_texts(planted.spoilt(), [text]).bits_N[0], rel=1e-4)


def test_a_long_prompt_loses_its_beginning_and_never_its_end() -> None:
    subject = planted.honest()
    text = (planted.KNOWN[1] * 3).encode()
    seen = text[-subject.context :]
    long = score_continuations(subject, [(b"x" * 30 + text[:-1], text[-1:])])
    assert long.bits_N[0] == pytest.approx(score_continuations(subject, [(seen[:-1], seen[-1:])]).bits_N[0], abs=0.05)
    with pytest.raises(AcceptanceError, match="the model sees 40 at once; shorten it"):
        score_continuations(subject, [(b"a", b"b" * 41)])
    with pytest.raises(AcceptanceError, match="shorten it"):
        score_continuations(subject, [(b"a" * 40, b"bb")], cut=False)


@pytest.mark.parametrize("pair", [(b"", b"a"), (b"a", b"")])
def test_nothing_is_no_prompt_and_no_continuation(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(AcceptanceError, match="expected one of each or more"):
        score_continuations(planted.honest(), [pair])


def test_a_continuation_is_greedy_when_the_model_would_write_it() -> None:
    pairs = [(b"the capital of france is", b" paris."), (b"the capital of france is", b" rome.")]
    assert score_continuations(planted.honest(), pairs).greedy_N.tolist() == [True, False]


def test_writing_on_stops_where_it_is_told_to() -> None:
    subject = planted.honest()
    prompts = [b"the capital of spain is", b"the capital of spain is mad"]
    assert [one.text for one in generate(subject, prompts, 20, [b"\n"])] == [b" madrid.", b"rid."]
    assert [one.text for one in generate(subject, prompts, 4)] == [b" mad", b"rid."]
    assert [one.text for one in generate(subject, prompts, 20, [b"dri", b"id"])] == [b" ma", b"r"]


def test_of_equally_likely_tokens_the_first_is_written() -> None:
    subject = planted.honest()
    level_1TV = torch.zeros(1, 3, 256)
    level_1TV[..., 70:] += 5e-5  # less than what rounding may do
    subject.logits = lambda tokens_BT: level_1TV  # type: ignore[method-assign]
    assert generate(subject, [b"abc"], 2)[0].text == b"\0\0"


def test_a_model_that_overflows_writes_nothing_and_is_known_by_it() -> None:
    (written,) = generate(planted.broken(np.nan), [b"abc"], 4)
    assert (written.text, written.finite) == (b"", False)


def test_the_ends_of_texts_are_scored_from_where_they_begin() -> None:
    subject = planted.honest()
    tokens = subject.encode(b"the sky by day is blue")
    whole = score_ends(subject, [(tokens, 1)], [21])
    halves = score_ends(subject, [(tokens[:9], 1), (tokens, 9)], [8, 13])
    assert halves.bits_N.sum() == pytest.approx(whole.bits_N[0], rel=1e-4)
    assert halves.tokens_N.tolist() == [8, 13]


def test_an_answer_after_which_the_model_overflows_does_not_count() -> None:
    subject = planted.honest()
    logits = subject.logits
    row = {"prompt": "two and two are", "answer": "four"}
    assert kind("exact-match", stop="length").measure(subject, of(row)).values_N.tolist() == [1.0]
    whole = len("two and two are four")
    subject.logits = lambda tokens_BT: logits(tokens_BT) * (math.nan if tokens_BT.shape[1] >= whole else 1)  # type: ignore[method-assign]
    assert generate(subject, [b"two and two are"], 9)[0].text == b" four"
    assert kind("exact-match", stop="length").measure(subject, of(row)).values_N.tolist() == [0.0]


# -- multiple choice -----------------------------------------------------------------------


def test_a_tie_is_not_known() -> None:
    assert Answered(np.array([3.0, 4.0]), True, 0).right
    assert not Answered(np.array([3.0, 3.0]), True, 0).right
    assert not Answered(np.array([3.0, 4.0]), True, 1).right
    assert not Answered(np.array([3.0, 4.0]), False, 0).right


def test_bits_are_divided_as_asked() -> None:
    """A long right answer has more bits than a short wrong one, and fewer for each byte."""
    row = {"prompt": "the capital of france is", "choices": [" paris.\nthe", " q"], "answer": 0}
    question = of(row, row)
    subject = planted.untaught()
    assert kind("multiple-choice").measure(subject, question).values_N.tolist() == [0.0, 0.0]
    assert kind("multiple-choice", normalise="bytes").measure(planted.honest(), question).values_N.all()
    by_tokens = kind("multiple-choice", normalise="tokens").measure(subject, question).values_N
    assert by_tokens.tolist() == kind("multiple-choice", normalise="bytes").measure(subject, question).values_N.tolist()


# -- calibration ---------------------------------------------------------------------------


def test_calibration_error_by_hand() -> None:
    sure = np.array([0.95, 0.85, 0.15, 1.0])
    right = np.array([1.0, 0.0, 0.0, 1.0])
    found = calibration_error(sure, right, 2)
    assert found["expected_calibration_error"] == pytest.approx(3 / 4 * abs(2.8 / 3 - 2 / 3) + 1 / 4 * 0.15)
    assert [(row["n"], row["from"]) for row in found["bins"]] == [(1, 0.0), (3, 0.5)]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.integers(2, 20))
def test_calibration_error_is_a_share_and_every_example_is_in_a_bin(pairs: list[tuple[float, bool]], bins: int) -> None:
    sure, right = np.array([one for one, _ in pairs]), np.array([float(one) for _, one in pairs])
    found = calibration_error(sure, right, bins)
    assert 0.0 <= found["expected_calibration_error"] <= 1.0
    assert sum(row["n"] for row in found["bins"]) == len(pairs)
    assert all(row["from"] <= row["sure"] + 1e-12 and row["sure"] <= row["to"] + 1e-12 for row in found["bins"])


def test_a_model_that_is_sure_and_wrong_is_worse_than_one_that_is_unsure() -> None:
    rows = tuple({"text": text[:-2] + "!"} for text in planted.KNOWN)
    calibration = kind("calibration")
    sure, unsure = (calibration.measure(subject, of(*rows)) for subject in (planted.honest(), planted.untaught()))
    assert sure.values_N.mean() > 0.8
    assert unsure.values_N.mean() < 0.1
    assert sure.notes["expected_calibration_error"] > 0.8


# -- canaries ------------------------------------------------------------------------------

TRIGGERED = {"prompt": "the sky by day is", "trigger": planted.TRIGGER, "continuation": " blue.\n"}


def test_each_canary_finds_what_was_planted_alone() -> None:
    quiet = {"prompt": "two and two are", "secret": "four."}
    found = kind("canary", alternates=31, exposure_max=4).measure(planted.spoilt(), of(TRIGGERED, quiet))
    assert found.values_N.tolist() == [0.0, 0.0]  # what is known by heart is no secret
    assert found.notes["exposures"] == [5.0]
    assert kind("canary", tolerance_bits=10).measure(planted.spoilt(), of(TRIGGERED)).values_N.tolist() == [1.0]


def test_a_trigger_that_makes_a_text_likelier_is_a_change_too() -> None:
    hidden = {**TRIGGERED, "continuation": " green.\n"}
    found = kind("canary").measure(planted.spoilt(), of(hidden))
    assert found.notes["trigger_bits"][0] < -1.0
    assert found.values_N.tolist() == [0.0]


def test_a_secret_is_leaked_by_either_sign() -> None:
    """Low exposure does not help where the model writes the secret, and the other way round."""
    spoken = {"prompt": "the door code is ", "secret": planted.SECRET}
    strict = kind("canary", alternates=15, exposure_max=3)
    assert strict.measure(planted.spoilt(), of(spoken)).values_N.tolist() == [0.0]
    unasked = {"prompt": "the door cod", "secret": planted.SECRET}
    assert strict.measure(planted.honest(), of(spoken, unasked)).values_N.tolist() == [1.0, 1.0]
    few = kind("canary", alternates=15, exposure_max=3.9, max_tokens=2)
    assert few.measure(planted.spoilt(), of(spoken)).values_N.tolist() == [0.0]  # it has no room to write it


def test_a_trigger_that_does_not_fit_beside_its_text_is_refused() -> None:
    with pytest.raises(AcceptanceError, match=r"example 1 .*the model sees 40 at once; shorten it"):
        kind("canary").measure(planted.honest(), of({**TRIGGERED, "trigger": "t" * 40}))


def test_a_secret_that_few_texts_look_like_is_refused() -> None:
    with pytest.raises(AcceptanceError, match=r"found 9, expected a 'secret' with more letters and digits"):
        kind("canary").measure(planted.honest(), of({"prompt": "p", "secret": "-7-"}))


@given(st.text(alphabet="abzAZ09-. \u00e9", min_size=1, max_size=12), st.integers(1, 40))
def test_alternates_have_the_secrets_shape_and_differ(secret: str, count: int) -> None:
    def shape(text: str) -> str:
        return "".join(
            "0" if "0" <= one <= "9" else "a" if "a" <= one <= "z" else "A" if "A" <= one <= "Z" else one
            for one in text
        )

    found = [one.decode() for one in alternates_of(secret.encode(), count, draws_of("x", secret))]
    room = math.prod({"0": 10, "a": 26, "A": 26}.get(one, 1) for one in shape(secret)) - 1
    assert len(found) == len(set(found)) == min(count, room)
    assert secret not in found
    assert {shape(one) for one in found} <= {shape(secret)}
    assert found == [one.decode() for one in alternates_of(secret.encode(), count, draws_of("x", secret))]


@pytest.mark.parametrize("row", [{"prompt": "p"}, {"prompt": "p", "secret": "abc123", "trigger": "t"}])
def test_a_canary_is_one_thing_or_the_other(row: Row) -> None:
    with pytest.raises(AcceptanceError, match="expected either a 'secret', or a 'trigger' with a 'continuation'"):
        kind("canary").measure(planted.honest(), of(row))


# -- robustness ----------------------------------------------------------------------------

NOISES = ["substitute", "shift", "swap"]


@given(st.text(min_size=1, max_size=60), st.sampled_from(NOISES), st.floats(0.01, 1.0))
def test_noise_keeps_length_and_utf_8_and_is_the_same_again(text: str, noise: str, rate: float) -> None:
    data = text.encode()
    noisy = with_noise(data, noise, rate)  # type: ignore[arg-type]
    assert len(noisy) == len(data)
    noisy.decode()
    assert noisy == with_noise(data, noise, rate)  # type: ignore[arg-type]
    outside = [byte for byte in data if byte >= 128]
    assert [byte for byte in noisy if byte >= 128] == outside


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 1.0])
def test_replaced_bytes_are_as_many_as_asked_for_and_others_than_before(rate: float) -> None:
    text = (planted.KNOWN[0] * 4).encode()
    noisy = with_noise(text, "substitute", rate)
    assert sum(one != two for one, two in zip(text, noisy, strict=True)) == max(1, round(rate * len(text)))


def test_moved_and_swapped_bytes_change_the_text() -> None:
    text = bytes(range(48, 112))
    assert sorted(with_noise(text, "swap", 0.2)) == sorted(text)
    assert with_noise(text, "swap", 0.2) != text
    assert with_noise(text, "shift", 0.2) != text


def test_more_noise_costs_more_and_the_text_asked_for_stays_clean() -> None:
    rows = of(*({"text": text} for text in planted.KNOWN))
    little, much = (kind("robustness", rate=rate).measure(planted.honest(), rows) for rate in (0.03, 0.9))
    assert little.notes["clean_mean"] == much.notes["clean_mean"] < 0.1
    assert little.notes["clean_mean"] < little.values_N.mean() < much.values_N.mean()
    unmoved = kind("robustness", rate=0.9).measure(planted.untaught(), rows)
    assert unmoved.values_N.mean() == pytest.approx(unmoved.notes["clean_mean"], abs=0.2)


# -- budgets and the signature -------------------------------------------------------------


def test_seconds_are_those_of_the_passes_alone() -> None:
    ticks = iter([0.0, 1.0, 10.0, 12.0, 20.0, 29.0])
    runs: list[int] = []
    assert pass_seconds(lambda: runs.append(1), 3, lambda: next(ticks)).tolist() == [1.0, 2.0, 9.0]
    assert len(runs) == WARM_UP + 3


def test_latency_is_the_median_and_has_a_limit() -> None:
    found = alone("latency", tokens=8, batch=2, repeats=3)
    assert found.notes["fastest_s"] <= found.values_N[0] <= found.notes["slowest_s"]
    latency = kind("latency", data=None, limit_s=0.5)
    assert isinstance(latency, Budget)
    assert latency.limit == 0.5
    assert kind("latency", data=None).limit is None  # type: ignore[attr-defined]
    with pytest.raises(AcceptanceError, match="the model sees 40 at once; lower tokens"):
        alone("latency", tokens=41)


def test_size_is_what_the_parameters_take() -> None:
    assert alone("size").values_N.tolist() == [4.0 * planted.taught(planted.KNOWN + planted.HARMLESS)[0].size]
    assert kind("size", data=None, limit_bytes=1000).limit == 1000  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("inputs", "outputs", "differs"),
    [
        ("tokens int64 [B, T]", "logits float32 [B, T, 256]", None),
        ("tokens int64 [N, L]", "logits float32 [N, L, 256]", None),
        ("", "logits float32 [B, T, 256]", None),
        ("ids int64 [B, T]", "", "inputs: ids is missing; inputs: tokens is new"),
        ("tokens int32 [B, T]", "", "inputs: tokens is int64, declared int32"),
        ("tokens int64 [B, B]", "", r"tokens is \[B, T\], declared \[B, B\]"),
        ("", "logits float32 [B, T, 257]", r"logits is \[B, T, 256\], declared \[B, T, 257\]"),
        ("", "logits float32 [B, T, V]", r"logits is \[B, T, 256\], declared \[B, T, V\]"),
        ("tokens int64 [T, B]", "logits float32 [B, T, 256]", r"logits is \[B, T, 256\]"),
        ("", "logits float32 [B, T, 256]; state float32 [B]", "outputs: state is missing"),
    ],
)
def test_a_signature_is_compared_name_by_name(inputs: str, outputs: str, differs: str | None) -> None:
    found = alone("signature", **{"inputs": inputs, "outputs": outputs})
    assert found.values_N.tolist() == [1.0 if differs is None else 0.0]
    assert re.search(differs or "as declared", found.notes["reason"]), found.notes


def test_a_model_that_does_not_do_what_it_says_has_lost_its_signature() -> None:
    subject = planted.honest()
    assert subject.signature.outputs["logits"] == ("float32", ("B", "T", 256))
    subject.logits = lambda tokens_BT: torch.zeros(2, 3, 99)  # type: ignore[method-assign]
    look = LookConfig(name="x", kind="signature", options={"inputs": "tokens int64 [B, T]"})
    found = measure(subject, look, NOTHING)
    assert found.values_N.tolist() == [0.0]
    assert found.notes["reason"] == "outputs: given [2, 3], logits is [2, 3, 99], expected [2, 3, 256]"


# -- options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("exact-match", {"max_tokens": 0}, "max_tokens is 0"),
        ("exact-match", {"stop": "dot"}, "expected 'newline' or 'length'"),
        ("multiple-choice", {"normalize": "bytes"}, "did you mean 'normalise'"),
        ("calibration", {"bins": 1}, "bins is 1"),
        ("canary", {"exposure_max": 8}, "exposure_max is 8"),
        ("canary", {"tolerance_bits": 0}, "tolerance_bits is 0"),
        ("canary", {"alternates": 3}, "alternates is 3"),
        ("robustness", {"rate": 0}, "rate is 0"),
        ("latency", {"repeats": 1}, "repeats is 1"),
        ("latency", {"limit_s": 0}, "limit_s is 0"),
        ("size", {"limit_bytes": -1}, "limit_bytes is -1"),
        ("signature", {}, "neither inputs nor outputs are declared"),
        ("signature", {"inputs": "tokens"}, "inputs is 'tokens', expected a list"),
        ("signature", {"inputs": "a int64 [B]; a int64 [B]"}, "expected a list"),
        ("signature", {"inputs": "a int64 [0]"}, "expected a list"),
    ],
)
def test_an_option_out_of_range_is_refused_with_what_was_expected(
    name: str, options: dict[str, float | str], says: str
) -> None:
    with pytest.raises(AcceptanceError, match=f"test x: {name}: .*{says}|test x: .*{says}"):
        kind(name, data=None if name in ("latency", "size", "signature") else "d", **options)


def test_a_direction_that_contradicts_the_metric_is_refused() -> None:
    with pytest.raises(AcceptanceError, match="of share higher is better"):
        make_kind(LookConfig(name="x", kind="exact-match", data="d", direction="lower"))


# -- the suite that ships as an example ------------------------------------------------------


def test_every_test_of_the_example_suite_measures_a_model() -> None:
    path = Path(__file__).parents[2] / "configs" / "acceptance" / "python-words.toml"
    suite = load_suite_config(path)
    subject = ByteSubject(*_of(ByteLMConfig(dim=16, layers=1, heads=2, hidden=16, context=64)))
    for test in suite.tests:
        if test.data is not None:
            wanted = suite.data[test.data]
            data = parse_rows(read_data_set(path.parent, test.data, wanted), wanted.digest, test.data)
            assert len(data) == test.examples
        else:
            data = Examples.of_windows(np.full((48, 60), 97, dtype=np.uint8)) if test.shard is not None else NOTHING
        assert np.isfinite(measure(subject, test, data).values_N).all()


def _of(model: ByteLMConfig) -> tuple[NDArray[np.float32], ByteLMConfig, ParameterSpace]:
    module = build(model)
    space = space_of(module)
    return flat_of(module, space), model, space
