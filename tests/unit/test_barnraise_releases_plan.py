"""The plan is the cheapest chain, and a broken lineage is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.errors import BrokenChainError, NoSuchVersionError
from barnraise.message import BlobRef
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.plan import make_plan
from laws import examples


def blob(text: str, size_bytes: int) -> BlobRef:
    return BlobRef(digest=digest_bytes(text.encode()), size_bytes=size_bytes)


def entry(number: int, keyframe: int | None, patch: int | None, parent: int | None = None) -> IndexEntry:
    before = number - 1 if parent is None else parent
    return IndexEntry(
        version=f"0.1.{number}",
        model_digest=digest_bytes(b"model%d" % number),
        manifest=blob(f"manifest{number}", 10),
        parent=f"0.1.{before}" if before >= 0 else None,
        keyframe=None if keyframe is None else blob(f"keyframe{number}", keyframe),
        patch=None if patch is None else blob(f"patch{number}", patch),
    )


def index(*entries: IndexEntry) -> ReleaseIndex:
    return ReleaseIndex(name="tiny-lm", releases=entries)


SIZES = st.none() | st.integers(0, 50)


@st.composite
def trees(draw: st.DrawFn) -> list[IndexEntry]:
    """Releases of which each has an earlier one as its parent; some have the model of another."""
    entries = [entry(0, draw(st.integers(0, 50)), None)]
    for number in range(1, draw(st.integers(1, 7))):
        new = entry(number, draw(SIZES), draw(st.integers(0, 50)), parent=draw(st.integers(0, number - 1)))
        if draw(st.integers(0, 3)) == 0:
            new = new.model_copy(update={"model_digest": draw(st.sampled_from(entries)).model_digest})
        entries.append(new)
    return entries


def all_ways(
    entries: list[IndexEntry], model: str, installed: str | None, seen: frozenset[str]
) -> Iterator[list[BlobRef]]:
    """Every list of blobs that makes a model, found by trying all."""
    if model == installed:
        yield []
    for one in entries:
        if one.model_digest != model:
            continue
        if one.keyframe is not None:
            yield [one.keyframe]
        if one.patch is not None and one.parent is not None:
            base = next(other.model_digest for other in entries if other.version == one.parent)
            if base not in seen:
                yield from ([*way, one.patch] for way in all_ways(entries, base, installed, seen | {base}))


@settings(deadline=None, max_examples=examples(100))
@given(data=st.data(), entries=trees())
def test_no_other_way_is_cheaper(data: st.DataObject, entries: list[IndexEntry]) -> None:
    wanted = data.draw(st.sampled_from(entries))
    installed = data.draw(st.none() | st.sampled_from([e.model_digest for e in entries]))
    blobs = [b for e in entries for b in (e.keyframe, e.patch) if b]
    at_hand = {b.digest for b in data.draw(st.lists(st.sampled_from(blobs)))}
    ways = all_ways(entries, wanted.model_digest, installed, frozenset({wanted.model_digest}))
    costs = [(sum(b.size_bytes for b in way if b.digest not in at_hand), len(way)) for way in ways]
    plan = make_plan(index(*entries), wanted.version, installed=installed, at_hand=at_hand)
    assert plan.fetch_bytes == min(costs)[0]
    assert len(plan.patches) <= min(costs)[1]
    assert plan.at_hand <= at_hand
    listed = index(*entries)
    model = listed.entry(plan.start).model_digest
    assert plan.keyframe is not None or model == installed
    for step in plan.patches:
        assert step.base_digest == model
        assert listed.entry(step.version).patch == step.blob
        model = listed.entry(step.version).model_digest
    assert model == wanted.model_digest


def test_back_to_an_earlier_model_by_the_patch_that_takes_something_back() -> None:
    """0.1.2 has the model of 0.1.0 again: from 0.1.1 it is one patch, whichever of the two is wanted."""
    back = entry(2, None, 5).model_copy(update={"model_digest": entry(0, None, None).model_digest})
    listed = index(entry(0, 1000, None), entry(1, None, 7), back)
    for wanted in ("0.1.0", "0.1.2"):
        plan = make_plan(listed, wanted, installed=listed.entry("0.1.1").model_digest)
        assert [step.version for step in plan.patches] == ["0.1.2"]


def test_a_plan_says_what_is_at_hand_and_what_else_belongs_to_it() -> None:
    listed = index(entry(0, 1000, None), entry(1, None, 7))
    keyframe = listed.releases[0].keyframe
    assert keyframe is not None
    plan = make_plan(listed, "0.1.1", at_hand={keyframe.digest, blob("other", 1).digest})
    assert plan.lines() == ["take the keyframe of 0.1.0 (1,000 bytes, at hand)", "apply the patch to 0.1.1 (7 bytes)"]
    assert [(step["step"], step["at_hand"]) for step in plan.steps()] == [("keyframe", True), ("patch", False)]
    with_manifest = replace(plan, documents=(listed.releases[1].manifest, listed.releases[1].manifest))
    assert [b.size_bytes for b in with_manifest.fetch] == [10, 7]
    assert with_manifest.fetch_bytes == 17


def test_many_patches_are_told_in_one_line() -> None:
    listed = index(entry(0, 1000, None), *(entry(number, None, 7) for number in range(1, 12)))
    patch = listed.releases[3].patch
    assert patch is not None
    plan = make_plan(listed, "0.1.11", at_hand={patch.digest})
    assert plan.lines()[1:] == ["apply 11 patches, 0.1.1 to 0.1.11 (77 bytes, 7 of them at hand)"]
    assert len(plan.steps()) == 12


def test_patches_are_applied_in_order_from_the_nearest_start() -> None:
    plan = make_plan(index(entry(0, 1000, None), entry(1, None, 7), entry(2, None, 8)), "0.1.2")
    assert [line.split(" (")[0] for line in plan.lines()] == [
        "take the keyframe of 0.1.0",
        "apply the patch to 0.1.1",
        "apply the patch to 0.1.2",
    ]
    assert (plan.fetch_bytes, plan.patch_bytes) == (1015, 15)
    assert plan.patches[1].base_digest == digest_bytes(b"model1")


def test_among_equally_cheap_ways_the_one_with_fewest_patches() -> None:
    plan = make_plan(index(entry(0, 10, None), entry(1, 10, 0)), "0.1.1")
    assert plan.patches == ()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry(0, None, None), entry(1, None, 5)], "no keyframe reaches 0.1.1"),
        ([entry(1, None, 5)], "a patch of 0.1.0, which is not listed"),
        ([entry(0, None, 5, parent=1), entry(1, None, 5)], "runs in a circle"),
        ([entry(1, None, 5, parent=1)], "runs in a circle"),
    ],
)
def test_a_broken_chain_is_refused(entries: list[IndexEntry], message: str) -> None:
    with pytest.raises(BrokenChainError, match=message):
        make_plan(index(*entries), "0.1.1")


def test_an_unlisted_version() -> None:
    with pytest.raises(NoSuchVersionError):
        make_plan(index(entry(0, 1, None)), "0.2.0")
