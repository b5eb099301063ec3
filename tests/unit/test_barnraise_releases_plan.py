"""The plan is the cheapest chain, and a broken lineage is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import digest_bytes
from barnraise.errors import BrokenChainError, NoSuchVersionError
from barnraise.protocol import BlobRef
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.plan import make_plan


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
    return ReleaseIndex(name="tiny-lm", serial=1, at_ms=0, coordinator_key="0" * 64, releases=entries)


SIZES = st.none() | st.integers(0, 50)


@settings(deadline=None)
@given(data=st.data(), count=st.integers(1, 6))
def test_no_other_start_is_cheaper(data: st.DataObject, count: int) -> None:
    entries = [entry(0, data.draw(st.integers(0, 50)), None)]
    entries += [entry(n, data.draw(SIZES), data.draw(st.integers(0, 50))) for n in range(1, count)]
    installed = data.draw(st.none() | st.sampled_from(entries))
    blobs = [b for e in entries for b in (e.keyframe, e.patch) if b]
    at_hand = {b.digest for b in data.draw(st.lists(st.sampled_from(blobs)))}

    def cost(found: BlobRef | None) -> int:
        return 0 if found is None or found.digest in at_hand else found.size_bytes

    costs = []
    for start, candidate in enumerate(entries):
        patches = sum(cost(e.patch) for e in entries[start + 1 :])
        if candidate is installed:
            costs.append(patches)
        elif candidate.keyframe:
            costs.append(patches + cost(candidate.keyframe))
    plan = make_plan(
        index(*entries), f"0.1.{count - 1}", installed=installed.model_digest if installed else None, at_hand=at_hand
    )
    assert plan.fetch_bytes == min(costs)
    assert [step.version for step in plan.patches] == [
        e.version for e in entries[entries.index(index(*entries).entry(plan.start)) + 1 :]
    ]


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
