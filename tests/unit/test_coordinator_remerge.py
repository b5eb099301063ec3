"""The line of a release, and what is left of it without some updates: laws, then the cases of the picture."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.errors import BrokenChainError, ConfigError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases.manifest import Manifest, MergedUpdate
from coordinator.conductor.replay import Archive
from coordinator.remerge import Known, Line, Past, PastMerge, lines_of, nearest, without

KEY = "a" * 64
CONFIG = BlobRef(digest="b3:" + "c" * 64, size_bytes=1)


def update(number: int) -> MergedUpdate:
    return MergedUpdate(digest=f"b3:{number:064x}", contributor=KEY, weight=1.0, size_bytes=9)


def merge(version: int, *updates: int, needs: int = 2) -> PastMerge:
    return PastMerge(f"0.1.{version}", f"b3:{version:064x}", tuple(update(u) for u in updates), needs, CONFIG, version)


def digest(number: int) -> str:
    return update(number).digest


def digests(line: Line) -> set[str]:
    return {found for one in line for found in one.digests}


LINES = st.lists(st.integers(0, 5), max_size=6).map(
    lambda sizes: tuple(merge(at + 1, *range(10 * at, 10 * at + size)) for at, size in enumerate(sizes))
)
CHOSEN = st.frozensets(st.integers(0, 59), max_size=8).map(lambda chosen: frozenset(map(digest, chosen)))


@settings(deadline=None)
@given(LINES, CHOSEN)
def test_nothing_that_was_left_out_is_left_and_nothing_else_changes_but_rounds_with_too_few(
    line: Line, out: frozenset[str]
) -> None:
    left = without(line, out)
    assert not digests(left) & out
    before = {one.version: one for one in line}
    for one in left:
        assert set(one.digests) == set(before[one.version].digests) - out
    for one in line:
        rest = set(one.digests) - out
        if one.version not in {other.version for other in left}:
            assert len(rest) < one.needs
            assert len(rest) < len(one.digests)


@settings(deadline=None)
@given(LINES, CHOSEN, CHOSEN)
def test_leaving_out_in_two_steps_is_leaving_out_at_once(
    line: Line, one: frozenset[str], other: frozenset[str]
) -> None:
    assert without(without(line, one), other) == without(line, one | other) == without(without(line, other), one)


@settings(deadline=None)
@given(LINES, CHOSEN)
def test_leaving_out_what_is_not_there_changes_nothing(line: Line, out: frozenset[str]) -> None:
    assert without(line, out - digests(line)) == line
    assert without(line, ()) == line


@settings(deadline=None)
@given(LINES, CHOSEN)
def test_one_starts_from_the_longest_line_that_is_still_so(line: Line, out: frozenset[str]) -> None:
    known = [Known(f"0.1.{n}", line[:n], f"m{n}", None) for n in range(len(line) + 1)]
    left = without(line, out)
    start = nearest(left, known)
    assert left[: len(start.line)] == start.line
    longer = [one for one in known if len(one.line) > len(start.line)]
    assert all(left[: len(one.line)] != one.line for one in longer)


def test_a_release_without_updates_has_its_parents_line_without_them() -> None:
    pasts = {
        "0.1.0": Past("0.1.0", None, None),
        "0.1.1": Past("0.1.1", "0.1.0", merge(1, 1, 2, 3)),
        "0.1.2": Past("0.1.2", "0.1.1", merge(2, 4, 5)),
        "0.1.3": Past("0.1.3", "0.1.2", None, frozenset({digest(1)})),
        "0.1.4": Past("0.1.4", "0.1.3", merge(4, 6, 7)),
        "0.1.5": Past("0.1.5", "0.1.4", None, frozenset({digest(2), digest(4)})),
    }
    lines = lines_of("0.1.5", pasts.__getitem__)
    assert list(lines) == ["0.1.0", "0.1.1", "0.1.2", "0.1.3", "0.1.4", "0.1.5"]
    assert lines["0.1.3"] == (merge(1, 2, 3), merge(2, 4, 5))
    assert lines["0.1.4"] == (merge(1, 2, 3), merge(2, 4, 5), merge(4, 6, 7))
    assert lines["0.1.5"] == (merge(4, 6, 7),)


def test_a_release_that_is_given_as_its_own_ancestor_is_refused() -> None:
    pasts = {"0.1.1": Past("0.1.1", "0.1.2", None), "0.1.2": Past("0.1.2", "0.1.1", None)}
    with pytest.raises(BrokenChainError, match="given as its own ancestor"):
        lines_of("0.1.2", pasts.__getitem__)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"[" * 100_000, b'{"run": 1', b'{"run": 1}', b'{"run": {"name": 3}}']
)
def test_a_configuration_that_is_none_is_refused(data: bytes) -> None:
    def no_manifest(version: str) -> Manifest:
        raise AssertionError(version)

    archive = Archive(lambda _: data, no_manifest)
    with pytest.raises((VerificationError, ConfigError)):
        archive.config(BlobRef(digest=digest_bytes(data), size_bytes=len(data)))
