"""Free riders, copies and tuned updates, planted in made-up rounds; and how often honest ones are called so.

Updates that were really trained are in benchmarks/freeriders.py.

K  updates in the round
P  elements, or public examples
"""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError
from coordinator.acceptance.hidden.checks import COMPARED_MOST
from coordinator.acceptance.updates.compared import Compared
from coordinator.acceptance.updates.contribution import Effect, PairedLosses, score_update
from coordinator.acceptance.updates.copies import LIKE, Row, copies, expected_likeness
from coordinator.acceptance.updates.free_riders import ALPHA, Work, alignments, free_rider
from coordinator.acceptance.updates.recognise import Entry, recognise
from coordinator.acceptance.updates.recognition import Recognised
from coordinator.acceptance.updates.tuned import tuned_to_public

Array = NDArray[np.float64]
SIZE = 4_000


def measured(gain: float, error: float, examples: int = 32) -> Effect:
    return Effect(-gain, error, -gain - 2 * error, -gain + 2 * error, examples, 0.95)


def work(own: float, *, error: float = 0.01, hidden: float = 0.0, norm: float = 1.0, alignment: float = 0.3) -> Work:
    return Work(measured(own, error), measured(hidden, 0.01), norm, alignment)


# Free riders.

HONEST = [work(gain) for gain in (0.1, 0.15, 0.2, 0.25)]
OVERSHOT = [work(gain, error=0.02, hidden=-0.05) for gain in (-0.04, -0.02, 0.01, 0.02)]


@pytest.mark.parametrize(
    "mine",
    [
        work(0.0, error=0.0, norm=0.0, alignment=0.0),  # zeros
        work(0.003, error=0.0005, hidden=0.003, norm=0.02),  # next to nothing
        work(-0.03, error=0.01, alignment=0.001),  # noise
        work(-0.03, error=0.01, alignment=-0.3),  # against the others
        work(-0.03, error=0.01),  # no gain where all others have one
    ],
)
def test_free_riders_are_recognised(mine: Work) -> None:
    found = free_rider(mine, HONEST)
    assert found.label == "free-rider"
    assert "is ruled out" in found.reason
    assert "others +0.2 bits/byte (to 0.1)" in found.reason
    json.dumps(found.evidence, allow_nan=False)


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        (work(0.2), HONEST),
        (work(0.05, error=0.03), HONEST),  # the gain is small and not shown, but not ruled out
        (work(0.0, error=0.001, hidden=0.1), HONEST),  # helps the hidden text
        (work(-0.06, error=0.01), OVERSHOT),  # does harm alone, as others do, and points where they do
        (work(0.05), HONEST[:1]),
    ],
)
def test_honest_work_is_not_called_free_riding(mine: Work, others: list[Work]) -> None:
    assert free_rider(mine, others).label == "honest"


def test_what_few_examples_cannot_tell_is_unclear() -> None:
    found = free_rider(work(0.0, error=0.1, alignment=0.0), HONEST)
    assert found.label == "unclear"
    assert "32 examples do not rule out a gain of 10% of theirs (p > 0.1)" in found.reason
    needed = int(found.reason.split("about ")[1].split(" could")[0].replace(",", ""))
    assert needed == pytest.approx((2.45 * 0.1 / (0.175 - 0.0175)) ** 2 * 32, rel=0.02)
    assert free_rider(work(0.1), []).label == "unclear"


def test_a_gain_that_just_suffices_is_called_none_as_often_as_it_says() -> None:
    """The stated level, in the worst case: no other word speaks for the update."""
    random, count, trials = np.random.default_rng(0), 32, 2_000
    flagged = 0
    for _ in range(trials):
        gains_N = random.normal(0.0175, 0.1, count)
        own = measured(float(gains_N.mean()), float(gains_N.std(ddof=1)) / math.sqrt(count), count)
        flagged += free_rider(Work(own, measured(0, 0.01), 1.0, 0.0), HONEST).flagged
    assert flagged / trials == pytest.approx(ALPHA, abs=3 * math.sqrt(ALPHA / trials))


def test_alignment_is_the_cosine_with_the_sum_of_the_others() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0], [3.0, 4.0]])
    found = alignments(rows @ rows.T)
    expected = [float(row @ rest) for row, rest in ((rows[0], rows[[1, 2, 3]].sum(0)), (rows[3], rows[:3].sum(0)))]
    assert found[0] == pytest.approx(expected[0] / math.hypot(3, 6))
    assert found[3] == pytest.approx(expected[1] / (5 * math.hypot(1, 2)))
    assert found[2] == 0.0


# Copies.


def honest_round(count: int, cosine: float, seed: int) -> Array:
    """Updates with that cosine between any two, lengths from 1 to 3; float64 [K, P]."""
    random = np.random.default_rng(seed)
    common_P, own_KP = random.normal(size=SIZE), random.normal(size=(count, SIZE))
    rows_KP = math.sqrt(cosine) * common_P + math.sqrt(1 - cosine) * own_KP
    return rows_KP * random.uniform(1, 3, size=(count, 1))


def judged(rows_KP: Array, patch_P: Array | None = None) -> list[str]:
    """Labels of updates that were received in their order."""
    rows = [Row(f"b3:{index}", index) for index in range(len(rows_KP))]
    if patch_P is not None:
        rows_KP, rows = np.vstack([rows_KP, patch_P]), [*rows, Row("0.1.7", None)]
    return [found.label for found in copies(rows_KP @ rows_KP.T, rows)]


@settings(max_examples=25)
@given(count=st.integers(2, 9), cosine=st.floats(0, 0.95), seed=st.integers(0, 2**32 - 1))
def test_honest_updates_are_no_copies_however_much_they_agree(count: int, cosine: float, seed: int) -> None:
    assert set(judged(honest_round(count, cosine, seed))) == {"honest"}


@settings(max_examples=25)
@given(
    cosine=st.floats(0, 0.9),
    factor=st.sampled_from([1.0, -1.0, 0.01, -3.0, 1e6]),
    seed=st.integers(0, 2**32 - 1),
    place=st.integers(0, 4),
)
def test_a_copy_is_found_at_any_scale_and_sign_and_the_earlier_one_is_not_blamed(
    cosine: float, factor: float, seed: int, place: int
) -> None:
    rows_KP = honest_round(5, cosine, seed)
    labels = judged(np.vstack([rows_KP, factor * rows_KP[place]]))
    assert labels == ["honest"] * 5 + ["copy"]


@pytest.mark.parametrize("cosine", [0.1, 0.8])
def test_noise_hides_a_copy_only_when_it_drowns_what_is_its_own(cosine: float) -> None:
    rows_KP = honest_round(8, cosine, 3)
    own = math.sqrt(1 - cosine) * np.linalg.norm(rows_KP[2])
    noise_P = np.random.default_rng(9).normal(size=SIZE)
    noise_P *= own / np.linalg.norm(noise_P)
    assert judged(np.vstack([rows_KP, rows_KP[2] + 0.8 * noise_P]))[-1] == "copy"
    assert judged(np.vstack([rows_KP, rows_KP[2] + 3 * noise_P]))[-1] == "honest"


def test_an_old_releases_difference_is_found() -> None:
    rows_KP = honest_round(5, 0.5, 4)
    patch_P = honest_round(5, 0.5, 5).mean(axis=0)
    assert judged(rows_KP, patch_P) == ["honest"] * 5
    assert judged(np.vstack([rows_KP, 2 * patch_P]), patch_P) == ["honest"] * 5 + ["copy"]


def test_three_alike_are_two_copies_even_when_they_are_most_of_the_round() -> None:
    first_P, other_P = honest_round(2, 0.3, 6)
    assert judged(np.stack([first_P, other_P, first_P, 2 * first_P])) == ["honest", "honest", "copy", "copy"]
    assert judged(np.stack([first_P, first_P])) == ["honest", "copy"]


def test_who_was_received_first_is_no_copy_wherever_it_stands() -> None:
    rows_KP = honest_round(4, 0.3, 7)
    rows_KP[0] = rows_KP[3]
    rows = [Row("late", 3), Row("b", 1), Row("c", 2), Row("early", 0)]
    found = dict(zip(("late", "b", "c", "early"), copies(rows_KP @ rows_KP.T, rows), strict=True))
    assert {name: word.label for name, word in found.items()} == {
        "late": "copy",
        "b": "honest",
        "c": "honest",
        "early": "honest",
    }
    assert "the earlier update early it shares +1.00" in found["late"].reason
    assert found["late"].evidence["nearest"] == "early"
    json.dumps(found["late"].evidence, allow_nan=False)


def test_zeros_are_no_copies_of_each_other() -> None:
    rows_KP = honest_round(3, 0.3, 8)
    assert judged(np.vstack([rows_KP, np.zeros((2, SIZE))])) == ["honest"] * 5


@given(cosine=st.floats(0, 0.999), others=st.integers(1, 50))
def test_honest_updates_are_expected_to_share_less_than_half_and_less_the_more_there_are(
    cosine: float, others: int
) -> None:
    found = expected_likeness(cosine, others)
    assert -1e-12 <= found <= 0.5 < LIKE
    assert expected_likeness(cosine, others + 1) <= found + 1e-12


@pytest.mark.parametrize(("cosine", "count"), [(0.3, 4), (0.8, 3), (0.8, 9)])
def test_what_is_expected_is_what_is_found(cosine: float, count: int) -> None:
    rows_KP = honest_round(count, cosine, 10)
    found = copies(rows_KP @ rows_KP.T, [Row(str(k), k) for k in range(count)])
    shared = [word.evidence["likeness"] for word in found[1:]]
    assert np.mean(shared) == pytest.approx(expected_likeness(cosine, count - 2), abs=0.06)


# Tuned to the public shard.


def losses(random: np.random.Generator, others: int, extras: list[float], count: int = 64) -> list[PairedLosses]:
    """Of the first update and the others, on the same examples; these differ a lot, alike for all.

    Args:
        extras: by how much more than an honest one each gains; of those after the last, nothing.
    """
    ease_N = random.gamma(2.0, 0.1, count)
    base_N = 4 + 2 * ease_N + random.normal(0, 0.3, count)
    strengths_K = [0.7, *np.linspace(0.8, 1.2, others)]
    shifts_K = [*extras, *[0.0] * (others + 1)][: others + 1]
    gains = [s * ease_N + e + random.normal(0, 0.03, count) for s, e in zip(strengths_K, shifts_K, strict=True)]
    return [PairedLosses(base_N, base_N - gain_N) for gain_N in gains]


def tuned_word(
    random: np.random.Generator, others: int, extra: float = 0.0, count: int = 64, tuned_others: int = 0
) -> Recognised:
    """What is said of an update that gains ``extra`` on public examples, as some of the others do."""
    public = losses(random, others, [extra, *[extra] * tuned_others], count)
    hidden = losses(random, others, [], count)
    mine, *theirs = (Compared("b3:00", *both) for both in zip(hidden, public, strict=True))
    return tuned_to_public(mine, theirs)


@pytest.mark.parametrize(("others", "count"), [(0, 64), (1, 64), (7, 64), (3, 32), (3, 12)])
def test_an_honest_update_is_called_tuned_as_often_as_it_says(others: int, count: int) -> None:
    random, trials = np.random.default_rng(others), 600
    flagged = sum(tuned_word(random, others, count=count).flagged for _ in range(trials))
    assert flagged / trials <= ALPHA + 3 * math.sqrt(ALPHA / trials)


def test_the_others_make_small_tuning_visible() -> None:
    """An extra gain of a quarter of an example's spread: beside others it is found nearly always, alone less often."""
    random = np.random.default_rng(5)
    alone, among = (np.mean([tuned_word(random, others, extra=0.035).flagged for _ in range(200)]) for others in (0, 7))
    assert among > 0.95
    assert alone < 0.6


def test_a_tuned_update_is_told_with_its_numbers() -> None:
    found = tuned_word(np.random.default_rng(6), 7, extra=0.1)
    assert found.label == "tuned"
    assert "on 64 public examples and" in found.reason
    assert "+0.10 bits/byte (to 0.01) more than the round's 7 others explain, p <= 0.001" in found.reason
    assert found.evidence["extra_gain"] == pytest.approx(0.1, abs=0.03)
    json.dumps(found.evidence, allow_nan=False)


def test_doing_worse_on_public_examples_is_no_tuning() -> None:
    assert tuned_word(np.random.default_rng(7), 7, extra=-0.3).label == "honest"


def test_what_is_all_zeros_is_no_tuning() -> None:
    zeros = PairedLosses(np.zeros(8), np.zeros(8))
    assert tuned_to_public(Compared("b3:00", zeros, zeros), [Compared("b3:00", zeros, zeros)]).label == "honest"
    with pytest.raises(AcceptanceError, match="at least 8 of each"):
        tuned_to_public(Compared("b3:00", zeros, zeros.at(range(7))), [])


def test_others_that_are_tuned_too_hide_nothing_while_they_are_fewer() -> None:
    found = [tuned_word(np.random.default_rng(seed), 5, extra=0.1, tuned_others=2).flagged for seed in range(40)]
    assert np.mean(found) > 0.95
    whole = tuned_word(np.random.default_rng(1), 5, extra=1.0, tuned_others=2)
    assert whole.evidence["extra_gain"] > 0.9


def test_what_a_check_keeps_is_bounded_and_comes_back_with_its_numbers() -> None:
    (public,), (hidden,) = (losses(np.random.default_rng(seed), 0, [], count=200) for seed in (1, 2))
    kept = Compared("b3:00", hidden, public, "bits/answer").as_json()
    text = json.dumps(kept)
    assert len(text) < 4 * COMPARED_MOST * 10
    again = Compared.from_json(json.loads(text))
    assert (again.drawn, again.unit, len(again.public.base_N)) == ("b3:00", "bits/answer", COMPARED_MOST)
    assert np.allclose(again.hidden.change, hidden.change[:COMPARED_MOST], atol=1.1e-5)
    assert again.as_json() == kept


def test_only_updates_that_were_looked_at_with_the_same_examples_are_compared() -> None:
    """A check of an earlier Barnraise, or with other settings, is left out of the comparison and judged by the rest."""
    random = np.random.default_rng(11)
    public, hidden = losses(random, 3, [0.2]), losses(random, 3, [])
    score = score_update(hidden[0])
    entries = [Entry(f"b3:{k}", k, score, Compared("b3:00", hidden[k], public[k])) for k in range(3)]
    entries[2] = replace(entries[2], compared=Compared("b3:11", hidden[3].at(range(9)), public[3].at(range(9))))
    entries.append(Entry("b3:3", 3, score))
    gram_KK = np.eye(4) + 0.3
    found = recognise(entries, gram_KK, ())
    assert found["b3:0"].label == "tuned"
    assert "more than the round's 1 others explain" in found["b3:0"].reason
    assert not any(found[name].label == "tuned" for name in ("b3:1", "b3:2", "b3:3"))
