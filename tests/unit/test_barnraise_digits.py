"""The digits that ship: whole, split by digest, and dealt out so that no two shards have the same picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.config import bundled_config, load_run_config, parse_run_config
from barnraise.corpora import corpus_of
from barnraise.data_config import DigitsData, ForeignData, LocalData
from barnraise.digest import digest_bytes
from barnraise.digits import Digits, all_digits
from barnraise.errors import ConfigValueError

SHARDS = {"some": ("0", "1", "2"), "others": ("2", "3"), "more": ("2",)}
NAMES = st.sampled_from("0123456789")


def rows(data: bytes) -> list[bytes]:
    assert len(data) % 65 == 0
    return [data[at : at + 65] for at in range(0, len(data), 65)]


def test_all_pictures_are_there() -> None:
    found = all_digits()
    assert found.shape == (1797, 65)
    assert found.dtype == np.uint8
    assert digest_bytes(found.tobytes()) == "b3:871a762edb23c6d138f1434d0b23e9fe94a1a2ee79328e095347ab9f62740139"
    assert np.bincount(found[:, -1]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert found[:, :-1].max() == 16


@settings(deadline=None, max_examples=20)
@given(
    shards=st.dictionaries(
        st.sampled_from("abcd"), st.lists(NAMES, min_size=1, max_size=4, unique=True).map(tuple), min_size=1
    ),
    percent=st.integers(10, 50),
)
def test_every_picture_of_a_named_digit_is_in_one_shard_and_on_one_side(
    shards: dict[str, tuple[str, ...]], percent: int
) -> None:
    data = DigitsData.model_validate({"corpus": "digits", "held_out_percent": percent, "shards": shards})
    found = Digits(data)
    named = {int(digit) for digits in shards.values() for digit in digits}
    everything = [row for shard in shards for split in ("train", "held-out") for row in rows(found.text(shard, split))]
    assert sorted(everything) == sorted(row.tobytes() for row in all_digits() if row[-1] in named)
    for shard, digits in shards.items():
        assert {row[-1] for row in rows(found.text(shard, "train"))} == {int(digit) for digit in digits}


def test_what_is_held_out_stays_so_when_more_is() -> None:
    sides = [
        set(
            rows(
                Digits(DigitsData(corpus="digits", held_out_percent=percent, shards=SHARDS)).text("others", "held-out")
            )
        )
        for percent in (10, 40)
    ]
    assert len(sides[0]) < len(sides[1])


def test_a_shard_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ConfigValueError, match=r"no shard 'x' in the corpus; there are some, others, more"):
        Digits(DigitsData(corpus="digits", shards=SHARDS)).text("x", "train")


def test_a_shard_without_digits_is_refused() -> None:
    with pytest.raises(ConfigValueError, match="no train picture"):
        Digits(DigitsData(corpus="digits", shards={"none": ()})).text("none", "train")


def test_a_corpus_that_nobody_offers_says_what_to_do() -> None:
    with pytest.raises(ConfigValueError, match=r"no corpus 'sonnets'.*barnraise\.corpora"):
        corpus_of(ForeignData(corpus="sonnets", shards={"all": ()}))
    with pytest.raises(ConfigValueError, match="--data"):
        corpus_of(LocalData(corpus="local", held_out=("texts/*.txt",)))


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        ({"architecture": "byte-lm"}, {"corpus": "digits", "shards": {"a": ["1"]}}, "reads text, the corpus digits"),
        ({"architecture": "image-classifier"}, {"shards": {"a": ["os"]}}, "reads pictures, the corpus python-stdlib"),
        (
            {"architecture": "image-classifier", "size": 16},
            {"corpus": "digits", "shards": {"a": ["1"]}},
            "needs model.size 8, model.levels 16",
        ),
        ({"architecture": "image-classifier"}, {"corpus": "digits", "shards": {"a": ["12"]}}, "data.shards"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused(model: object, data: object, said: str) -> None:
    value = load_run_config(bundled_config("digits")).model_dump(mode="json")
    value["acceptance"]["tests"] = [{"name": "size", "kind": "size"}]
    with pytest.raises(ConfigValueError, match=said):
        parse_run_config({**value, "model": model, "data": data}, source="a test")
