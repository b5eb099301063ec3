"""The planted updates: really trained by a tiny model for two rounds, and judged as a round is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from barnraise.model_config import ByteLMConfig
from benchmarks.convergence.arms import Scale
from benchmarks.freeriders import EXPECTED, judge_round, table, tally
from benchmarks.planted import CODECS, HIDDEN_EACH, KINDS, Plantation, PlantedRound
from coordinator.acceptance.updates.contribution import score_update
from coordinator.acceptance.updates.recognise import Entry, recognise

TINY = Scale(
    "tiny",
    ByteLMConfig(dim=16, layers=1, heads=2, hidden=32, context=32),
    rounds=2,
    steps=6,
    batch=8,
    learning_rate=4e-3,
    seeds=1,
    text_bytes=50_000,
)


@pytest.fixture(scope="module")
def planted() -> PlantedRound:
    torch.set_num_threads(1)
    (found,) = Plantation(CODECS["blockwise-8"], 0, TINY).rounds(2, {1})
    return found


def test_everything_is_planted_and_scored_on_examples_of_its_own(planted: PlantedRound) -> None:
    assert [update.kind for update in planted.updates] == ["honest"] * 8 + ["twin"] * 4 + list(KINDS[2:])
    assert planted.gram_KK.shape == (len(planted.updates) + 1,) * 2
    assert np.allclose(planted.gram_KK, planted.gram_KK.T)
    for update in planted.updates:
        assert len(update.hidden.base_N) == 8 * HIDDEN_EACH
        assert not np.array_equal(update.hidden.base_N, update.public.base_N)


def test_what_certainly_shows_is_recognised_and_nobody_honest_is_called_anything(planted: PlantedRound) -> None:
    found = judge_round(planted)
    for kind in ("zero", "tiny", "echo", "copy", "scaled", "flipped"):
        assert [word.label for name, word in found if name == kind] == [EXPECTED[kind]], kind
    (noise,) = (word for name, word in found if name == "noise")
    assert noise.label != "honest"  # it may gain a little by chance, so near the start: then it is unclear
    honest = [word for name, word in found if name in ("honest", "twin")]
    assert len(honest) == 12
    assert sum(word.flagged for word in honest) <= 1  # of 12 at 1% and 1%: two or more once in forty
    page = table(tally([planted]))
    assert len(page) == 2 + len(KINDS)
    assert page[2].startswith("| honest | 8 |")


def test_a_round_without_a_public_shard_or_own_text_is_judged_all_the_same(planted: PlantedRound) -> None:
    members = [0, 1, 2, 3, 4, 5, 12, 16]  # honest ones, zeros, a copy or none of them
    entries = [Entry(str(k), k, score_update(planted.updates[k].hidden)) for k in members]
    gram_KK = planted.gram_KK[np.ix_(members, members)]
    found = recognise(entries, gram_KK, [])
    assert list(found) == [str(k) for k in members]
    assert found["12"].label == "free-rider"
    assert not any(found[str(k)].flagged for k in range(6))
