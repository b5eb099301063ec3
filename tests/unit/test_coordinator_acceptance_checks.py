"""What the check of an update looks at: hidden windows, its own domain's, and public ones of the same domains."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.config import RunConfig, load_run_config
from barnraise.corpus import Corpus
from barnraise.data_config import LocalData
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.heldout import HeldOut
from coordinator.acceptance.hidden.checks import draw_check, known_windows

SHIPPED = Path(__file__).parents[2] / "configs" / "runs" / "stdlib-lm.toml"
SEEDS = st.binary(min_size=32, max_size=32)


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_run_config(SHIPPED)


@pytest.fixture(scope="module")
def held_out(config: RunConfig) -> HeldOut:
    return HeldOut.draw(Corpus.of(config.data), config)


def rows(examples: Examples) -> list[bytes]:
    return [] if examples.windows is None else [window.tobytes() for window in examples.windows]


def with_tests(config: RunConfig, **changes: object) -> RunConfig:
    """The same run, every test of it changed."""
    tests = tuple(test.model_copy(update=changes) for test in config.acceptance.tests)
    return config.model_copy(update={"acceptance": config.acceptance.model_copy(update={"tests": tests})})


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, shard=st.sampled_from(["concurrency", "text", "tools", "system"]))
def test_every_check_of_a_round_looks_at_sets_that_have_nothing_in_common_and_the_same_domains(
    config: RunConfig, held_out: HeldOut, seed: bytes, shard: str
) -> None:
    looked = draw_check(held_out, config, shard, seed)
    hidden, own, public = rows(looked.hidden), rows(looked.own), rows(looked.public)
    assert [len(hidden), len(own)] == [32, 32]
    assert len({*hidden, *own, *public}) == len(hidden) + len(own) + len(public)
    shards = sorted(config.data.shards)
    domain_of = {window.tobytes(): shards[place % 4] for place, window in enumerate(held_out.check)}
    assert {domain_of[window] for window in own} == {shard}
    public_of = {window.tobytes(): name for name, windows in held_out.windows.items() for window in windows}
    beside = Counter(domain_of[hidden[place]] for place in looked.beside_public)
    assert Counter(public_of[window] for window in public) == beside
    assert sorted(looked.beside_public) == list(range(32))
    other = draw_check(held_out, config, None, seed)
    assert (other.hidden.digest, other.compared, len(other.own)) == (looked.hidden.digest, looked.compared, 0)


def test_every_round_looks_at_other_public_windows(config: RunConfig, held_out: HeldOut) -> None:
    drawn = [draw_check(held_out, config, "text", bytes([number]) * 32) for number in range(4)]
    assert len({one.compared for one in drawn}) == len({one.public.digest for one in drawn}) == 4


def test_public_is_what_tests_look_at_in_every_round(config: RunConfig) -> None:
    assert known_windows(config) == {"concurrency": 48, "text": 256, "tools": 48, "system": 48}
    assert known_windows(with_tests(config, pool=4_000)) == {}
    assert known_windows(with_tests(config, shard=None)) == {}


def test_the_operators_own_text_is_public_to_nobody(config: RunConfig, held_out: HeldOut) -> None:
    own = config.model_copy(update={"data": LocalData(corpus="local", held_out=("texts/*.txt",))})
    assert known_windows(own) == {}
    looked = draw_check(held_out, with_tests(config, pool=4_000), "text", b"s" * 32)
    assert (len(looked.public), looked.beside_public) == (0, ())


def test_only_domains_that_have_public_windows_are_compared(config: RunConfig, held_out: HeldOut) -> None:
    few = with_tests(config, shard="tools", examples=8)
    looked = draw_check(held_out, few, "text", b"s" * 32)
    public_of = {window.tobytes(): name for name, windows in held_out.windows.items() for window in windows}
    assert {public_of[window] for window in rows(looked.public)} <= {"tools"}
    assert len(looked.public) == len(looked.beside_public) <= 8


def test_without_a_draw_all_rounds_look_at_the_first_windows_and_at_no_public_ones(
    config: RunConfig, held_out: HeldOut
) -> None:
    looked = draw_check(held_out, config, "text", None)
    assert rows(looked.hidden) == [window.tobytes() for window in held_out.check[:32]]
    assert looked.own.windows is not None
    assert np.array_equal(looked.own.windows, held_out.windows["text"][:32])
    assert (len(looked.public), looked.beside_public) == (0, ())
