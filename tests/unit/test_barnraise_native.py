"""The loops are optional: found, refused, switched off, shared out and built."""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise import native
from barnraise.native import build as native_build
from barnraise.native.build import build
from laws import ALL, examples
from merge.elementwise import median
from merge.gram import gram
from sanitized import fuzz

needs_loops = pytest.mark.skipif(not native.available(), reason="the loops are not built here")
needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="there is no compiler here"
)


@pytest.fixture
def reloaded() -> Iterator[None]:
    """Let the library be looked for anew, in this test and after it."""
    native._load.cache_clear()
    yield
    native._load.cache_clear()


@given(st.integers(0, 5000), st.integers(1, 700), st.integers(1, 5))
@settings(deadline=None)
def test_the_ranges_cover_everything_once_and_begin_at_the_grain(size: int, grain: int, workers: int) -> None:
    seen: list[tuple[int, int]] = []
    lock = threading.Lock()

    def work(start: int, end: int) -> None:
        with lock:
            seen.append((start, end))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "threads", lambda: workers)
        native.spread(work, size, grain)
    assert [n for start, end in sorted(seen) for n in range(start, end)] == list(range(size))
    assert all(start % grain == 0 and start < end for start, end in seen)
    assert len(seen) <= (1 if workers == 1 else workers * native.PIECES)


def test_an_error_is_raised_when_every_range_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "threads", lambda: 3)
    ended: list[int] = []

    def work(start: int, end: int) -> None:
        if start == 1:
            raise ValueError("range 1")
        ended.append(start)

    with pytest.raises(ValueError, match="range 1"):
        native.spread(work, 3, 1)
    assert sorted(ended) == [0, 2]


@pytest.mark.parametrize(("wanted", "expected"), [("1", 1), ("many", None), ("", None), ("0", 1)])
def test_threads_are_those_of_every_numeric_library(
    monkeypatch: pytest.MonkeyPatch, wanted: str, expected: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert native.threads() == (expected or len(os.sched_getaffinity(0)))


@pytest.mark.usefixtures("reloaded")
def test_without_a_library_everything_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [torch.randn(1000, generator=torch.Generator().manual_seed(n)) for n in range(5)]
    expected = median(rows), gram(rows)
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "missing.so")
    native._load.cache_clear()
    assert not native.available()
    assert torch.equal(median(rows), expected[0])
    assert torch.equal(gram(rows), expected[1])


@pytest.mark.usefixtures("reloaded")
def test_what_is_no_library_is_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "_kernels.so").write_bytes(b"not a library")
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "_kernels.so")
    assert native.library() is None


@needs_loops
@pytest.mark.usefixtures("reloaded")
def test_a_library_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "ABI", native.ABI + 1)
    assert native.library() is None


@needs_loops
def test_loops_are_switched_off_within_the_context_only() -> None:
    with native.disabled():
        assert native.library() is None
    assert native.library() is not None


@needs_compiler
def test_a_build_makes_a_library_of_this_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the file with the version alone: `make setup` compiles all, and so does `make laws`, which takes a while."""
    if not ALL:
        (tmp_path / "native" / "src").mkdir(parents=True)
        for name in ("abi.c", "kernels.h"):
            shutil.copy(native_build.HERE / "src" / name, tmp_path / "native" / "src")
        monkeypatch.setattr(native_build, "HERE", tmp_path / "native")
    made = tmp_path / "made" / "made.so"
    made.parent.mkdir()
    assert build(made) is None
    assert ctypes.CDLL(str(made)).barnraise_abi() == native.ABI
    assert [path.name for path in made.parent.iterdir()] == ["made.so"]


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [("/nowhere/cc", "cannot be run"), ("false", "could not compile"), ("sh -c 'echo broken >&2; exit 1'", "broken")],
)
def test_a_failed_build_says_why_and_leaves_the_old_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiler: str, reason: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    target = tmp_path / "_kernels.so"
    target.write_bytes(b"old")
    said = build(target)
    assert said is not None
    assert reason in said
    assert "the same bits" in said
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["_kernels.so"]


def test_no_compiler_at_all_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = build(tmp_path / "made.so")
    assert said is not None
    assert "no C compiler was found" in said


def test_loops_that_choose_survive_sanitizers(tmp_path: Path) -> None:
    """Chunks of every size and of odd values; what is chosen is checked as well."""
    fuzz("choosing", ["select", "levels"], examples(500), tmp_path)


def test_loops_over_dense_rows_survive_sanitizers(tmp_path: Path) -> None:
    """Rows of every number, size and kind; on both of the paths that there are for inner products."""
    fuzz("rows", ["elementwise", "gram", "narrow", "pages", "prune"], 500, tmp_path)
