from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from barnraise.config import RunConfig, load_run_config
from barnraise.corpus import Corpus
from barnraise.digest import digest_bytes
from barnraise.errors import AcceptanceError
from coordinator.acceptance.heldout import HeldOut, draw_windows

SHIPPED = Path(__file__).parents[2] / "configs" / "runs" / "stdlib-lm.toml"


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_run_config(SHIPPED)


@pytest.fixture(scope="module")
def held_out(config: RunConfig) -> HeldOut:
    return HeldOut.draw(Corpus.of(config.data), config)


def test_this_python_has_enough_text_for_the_shipped_suite(config: RunConfig, held_out: HeldOut) -> None:
    width = config.model.context + 1
    assert {shard: windows.shape for shard, windows in held_out.windows.items()} == {
        "concurrency": (48, width),
        "text": (256, width),
        "tools": (48, width),
        "system": (48, width),
    }
    assert held_out.check_windows(config.acceptance.check_examples).shape == (32, width)


def test_no_window_is_used_twice(held_out: HeldOut) -> None:
    windows = [row.tobytes() for rows in (*held_out.windows.values(), held_out.check) for row in rows]
    assert len(set(windows)) == len(windows)


def test_windows_are_held_out_text(config: RunConfig, held_out: HeldOut) -> None:
    corpus = Corpus.of(config.data)
    for shard, windows in held_out.windows.items():
        text = corpus.text(shard, "held-out")
        assert all(window.tobytes() in text for window in windows[:8])
    everything = [corpus.text(shard, "held-out") for shard in sorted(config.data.shards)]
    for index, window in enumerate(held_out.check[:8]):
        assert window.tobytes() in everything[index % len(everything)]


def test_drawing_again_gives_the_same_bytes(config: RunConfig, held_out: HeldOut) -> None:
    assert HeldOut.draw(Corpus.of(config.data), config).serialise() == held_out.serialise()


def test_it_is_read_back_as_it_was(held_out: HeldOut) -> None:
    data = held_out.serialise()
    again = HeldOut.parse(data, digest_bytes(data))
    assert again.serialise() == data
    assert np.array_equal(again.check, held_out.check)
    assert again.windows.keys() == held_out.windows.keys()
    assert all(np.array_equal(again.windows[shard], windows) for shard, windows in held_out.windows.items())


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=30)
def test_an_altered_byte_is_refused(at: int, flip: int) -> None:
    rows = np.arange(300, dtype=np.uint16).astype(np.uint8).reshape(10, 30)
    data = HeldOut({"text": rows}, rows[:2]).serialise()
    altered = bytearray(data)
    altered[at % len(data)] ^= flip
    with pytest.raises(AcceptanceError, match="restore that blob"):
        HeldOut.parse(bytes(altered), digest_bytes(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a safetensors file", "not a safetensors file"),
        (save({"shard/text": np.zeros((4, 9), np.uint8)}), "no windows for the check"),
        (save({"check": np.zeros((4, 9), np.float32)}), "no windows for the check"),
        (save({"check": np.zeros((4, 9), np.uint8), "shard/a": np.zeros((4, 8), np.uint8)}), "expected uint8"),
        (save({"check": np.zeros((4, 9), np.uint8), "shard/a": np.zeros((4, 9), np.int8)}), "expected uint8"),
        (save({"check": np.zeros((4, 9), np.uint8), "other": np.zeros((4, 9), np.uint8)}), "named shard/NAME"),
    ],
)
def test_another_file_is_refused_even_under_its_own_digest(data: bytes, message: str) -> None:
    with pytest.raises(AcceptanceError, match=message):
        HeldOut.parse(data, digest_bytes(data))


def test_more_check_windows_than_were_drawn_are_refused(held_out: HeldOut) -> None:
    with pytest.raises(AcceptanceError, match="check_pool or check_examples, or start a new run"):
        held_out.check_windows(257)


@given(length=st.integers(0, 4000), count=st.integers(1, 40), width=st.integers(2, 60))
@settings(deadline=None)
def test_windows_do_not_overlap_and_come_from_the_whole_text(length: int, count: int, width: int) -> None:
    text = b"".join(index.to_bytes(2, "big") for index in range(length // 2))
    if len(text) // width < count:
        with pytest.raises(AcceptanceError, match="are needed"):
            draw_windows(text, count, width, "text")
        return
    rows = draw_windows(text, count, width, "text")
    assert rows.shape == (count, width)
    slots = len(text) // width
    cut = [text[slot * width : (slot + 1) * width] for slot in range(slots)]
    chosen = {row.tobytes() for row in rows}
    assert len([part for part in cut if part in chosen]) >= count
    assert all(any(part in chosen for part in cut[i * slots // count : (i + 1) * slots // count]) for i in range(count))


def test_any_number_from_the_front_is_spread_over_the_text() -> None:
    text = bytes(index // 100 for index in range(25_600))
    front = draw_windows(text, 100, 100, "text")[:25]
    quarters = np.bincount(front[:, 0] // 64, minlength=4)
    assert quarters.min() >= 2
