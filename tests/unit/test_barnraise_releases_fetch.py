"""Fetching blobs: in parallel, resumable, from sources of which some are bad."""

from __future__ import annotations

import errno
import itertools
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import BlobMissingError, DiskFullError, NetworkError, UnreachableError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases import partial as partial_module
from barnraise.releases.fetch import Fetcher, FetchOptions
from barnraise.releases.partial import Partial, Stretch, merged, missing
from barnraise.releases.store import BlobStore
from barnraise.releases.stream import BlobGiver
from givers import Giver, as_blobs, blob_of

SMALL = FetchOptions(stretch_bytes=4000)


def data_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def fetcher(root: Path, *sources: BlobGiver, options: FetchOptions = SMALL) -> Fetcher:
    return Fetcher(sources, BlobStore(root), options)


def left_over(root: Path) -> list[str]:
    return [path.name for path in root.glob("partial/*")]


STRETCHES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted).map(tuple), max_size=8)


@settings(deadline=None)
@given(stretches=STRETCHES, most=st.integers(1, 60))
def test_what_is_there_and_what_is_missing_are_the_whole(stretches: list[Stretch], most: int) -> None:
    there = {at for start, stop in stretches for at in range(start, stop)}
    have = merged(stretches)
    assert {at for start, stop in have for at in range(start, stop)} == there
    assert all(one[1] < other[0] for one, other in itertools.pairwise(have))
    holes = missing(have, 50, most)
    assert [at for start, stop in holes for at in range(start, stop)] == sorted(set(range(50)) - there)
    assert all(0 < stop - start <= most for start, stop in holes)


@settings(deadline=None, max_examples=40)
@given(data=st.data(), size=st.integers(1, 300))
def test_another_process_goes_on_where_one_was_killed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, size: int
) -> None:
    whole = data_of(size)
    store = BlobStore(tmp_path_factory.mktemp("store"))
    there: set[int] = set()
    for _ in range(data.draw(st.integers(1, 3))):
        partial = Partial(store, blob_of(whole))
        assert partial.acquire()
        assert {at for start, stop in partial.have for at in range(start, stop)} == there
        for _ in range(data.draw(st.integers(0, 4))):
            start = data.draw(st.integers(0, size - 1))
            stop = data.draw(st.integers(start + 1, size))
            new = set(range(start, stop)) - there
            assert partial.write(start, whole[start:stop]) == len(new)
            there |= new
        partial.release(keep=True)
        journal = store.root / "partial" / f"{blob_of(whole).digest[3:]}.have"
        if there and data.draw(st.booleans()):  # killed while it wrote a record
            with journal.open("ab") as file:
                file.write(b"\1\2\3")


def test_nothing_is_left_of_a_partial_that_is_not_kept(tmp_path: Path) -> None:
    for keep, written in ((False, True), (True, False)):
        partial = Partial(BlobStore(tmp_path), blob_of(b"12345"))
        assert partial.acquire()
        assert not Partial(BlobStore(tmp_path), blob_of(b"12345")).acquire()
        if written:
            partial.write(0, b"123")
        partial.release(keep=keep)
        assert left_over(tmp_path) == []


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 30_000), min_size=1, max_size=5),
    connections=st.integers(1, 5),
    breaks=st.lists(st.integers(1, 5_000), max_size=12),
    ranges=st.booleans(),
)
def test_every_blob_arrives_whatever_breaks(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], connections: int, breaks: list[int], ranges: bool
) -> None:
    contents = [data_of(size, number) for number, size in enumerate(sizes)]
    one = Giver(as_blobs(*contents), "http://one", breaks=list(breaks), ranges=ranges)
    other = Giver(as_blobs(*contents), "http://other", breaks=list(breaks))
    root = tmp_path_factory.mktemp("store")
    work = fetcher(root, one, other, options=FetchOptions(connections=connections, stretch_bytes=4000))
    work.fetch([blob_of(data) for data in contents])
    for data in contents:
        assert BlobStore(root).read(blob_of(data).digest) == data
    assert left_over(root) == []
    assert work.fetched_bytes == one.sent + other.sent


def test_a_large_blob_comes_in_several_parts_at_a_time(tmp_path: Path) -> None:
    meeting = threading.Barrier(4, timeout=60)
    giver = Giver(as_blobs(data_of(16_000)), before=meeting.wait)
    fetcher(tmp_path, giver).fetch([blob_of(data_of(16_000))])
    assert sorted(start for _, start, _ in giver.asked) == [0, 4000, 8000, 12_000]


def test_a_source_without_ranges_sends_a_large_blob_once(tmp_path: Path) -> None:
    giver = Giver(as_blobs(data_of(40_000)), ranges=False)
    work = fetcher(tmp_path, giver)
    work.fetch([blob_of(data_of(40_000))])
    assert work.fetched_bytes == 40_000


def test_connections_cut_at_random_places_waste_nothing(tmp_path: Path) -> None:
    """Fetched in part by one process after the other; each is cut until it gives up."""
    size, draws = 2_000_000, random.Random(7)
    blob, processes = blob_of(data_of(size)), 0
    giver = Giver(as_blobs(data_of(size)), piece=7_001)
    options = FetchOptions(connections=1, stretch_bytes=300_000)  # with one thread the cuts fall in the same places
    while not BlobStore(tmp_path).has(blob.digest):
        giver.breaks = [draws.randrange(200_000), draws.randrange(200_000), 0, 0, 0]
        processes += 1
        try:
            fetcher(tmp_path, giver, options=options).fetch([blob])
        except UnreachableError:
            continue
    assert processes > 8
    assert giver.sent == size


def test_a_mirror_that_is_down_costs_a_warning(tmp_path: Path) -> None:
    bad = Giver(as_blobs(data_of(9000)), "http://down", breaks=[0] * 100)
    good = Giver(as_blobs(data_of(9000)), "http://good")
    work = fetcher(tmp_path, bad, good)
    work.fetch([blob_of(data_of(9000))])
    assert work.warnings == ["http://down: the connection broke; http://good was asked instead"]


def test_a_mirror_that_lags_is_not_blamed(tmp_path: Path) -> None:
    lagging = Giver(as_blobs(data_of(900, 1)), "http://lags")
    good = Giver(as_blobs(data_of(900, 1), data_of(900, 2)), "http://good")
    work = fetcher(tmp_path, lagging, good, options=FetchOptions(connections=1))
    work.fetch([blob_of(data_of(900, 2)), blob_of(data_of(900, 1))])
    assert [digest for digest, _, _ in lagging.asked] == [blob_of(data_of(900, n)).digest for n in (2, 1)]


def flip(data: bytes) -> bytes:
    return data[:5] + bytes([data[5] ^ 16]) + data[6:]


def test_a_liar_is_named_and_what_it_sent_thrown_away(tmp_path: Path) -> None:
    blobs = as_blobs(*(data_of(9000, number) for number in range(6)))
    liar, good = Giver(blobs, "http://liar", spoil=flip), Giver(blobs, "http://good")
    work = fetcher(tmp_path, liar, good, options=FetchOptions(connections=1))
    work.fetch([blob_of(data) for data in blobs.values()])
    assert len(liar.asked) == 1
    assert len(work.warnings) == 1
    assert work.warnings[0].startswith("http://liar sent b3:")
    assert all(BlobStore(tmp_path).read(digest) == data for digest, data in blobs.items())


def test_wrong_bytes_among_right_ones_are_found_out(tmp_path: Path) -> None:
    """One source breaks off after its lie, the other completes the blob: nobody knows who it was."""
    blobs = as_blobs(data_of(9000))
    liar = Giver(blobs, "http://liar", spoil=flip, breaks=[100])
    good = Giver(blobs, "http://good")
    work = fetcher(tmp_path, liar, good, options=FetchOptions(connections=1))
    work.fetch([blob_of(data_of(9000))])
    assert BlobStore(tmp_path).read(blob_of(data_of(9000)).digest) == data_of(9000)


def test_what_an_earlier_process_left_may_be_wrong(tmp_path: Path) -> None:
    blob = blob_of(data_of(9000))
    partial = Partial(BlobStore(tmp_path), blob)
    assert partial.acquire()
    partial.write(2000, b"rubbish")
    partial.release(keep=True)
    giver = Giver(as_blobs(data_of(9000)))
    work = fetcher(tmp_path, giver)
    work.fetch([blob])
    assert work.fetched_bytes == 9000 - len("rubbish") + 9000
    assert work.warnings == []


@pytest.mark.parametrize("ends", [0, 1, 2])
def test_when_all_are_bad_the_first_one_s_error_is_told(tmp_path: Path, ends: int) -> None:
    blobs = as_blobs(data_of(9000))
    sources: list[Giver] = [
        Giver(blobs, "http://liar", spoil=flip),
        Giver(blobs, "http://down", breaks=[0] * 100),
        Giver({}, "http://empty"),
    ]
    sources = sources[ends:] + sources[:ends]
    with pytest.raises((VerificationError, NetworkError, BlobMissingError)) as caught:
        fetcher(tmp_path, *sources).fetch([blob_of(data_of(9000))])
    assert type(caught.value) is [VerificationError, UnreachableError, BlobMissingError][ends]
    assert str(caught.value).startswith(sources[0].label)
    assert f"({sources[1].label}, {sources[2].label} did no better)" in str(caught.value)
    assert not BlobStore(tmp_path).has(blob_of(data_of(9000)).digest)


def test_a_slow_source_is_left_for_another(tmp_path: Path) -> None:
    seconds = [0.0]

    def tick() -> None:
        seconds[0] += 1.0

    blobs = as_blobs(data_of(60_000))
    options = FetchOptions(slow_bytes_per_s=2000, slow_after_s=10, clock=lambda: seconds[0])
    slow, good = Giver(blobs, "http://slow", before=tick), Giver(blobs, "http://good")
    work = fetcher(tmp_path / "two", slow, good, options=options)
    work.fetch([blob_of(data_of(60_000))])
    assert work.warnings == ["http://slow gives only 1,000 bytes/s; http://good was asked instead"]
    assert work.fetched_bytes == 60_000
    alone = fetcher(tmp_path / "one", Giver(blobs, "http://slow", before=tick), options=options)
    alone.fetch([blob_of(data_of(60_000))])
    assert alone.fetched_bytes == 60_000


def test_two_fetch_the_same_blob_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first, which is held until the second has tried."""
    holds, tried = threading.Event(), threading.Event()
    real = Partial.acquire

    def acquire(partial: Partial) -> bool:
        got = real(partial)
        (holds if got else tried).set()
        return got

    monkeypatch.setattr(Partial, "acquire", acquire)
    first = Giver(as_blobs(data_of(9000)), before=lambda: tried.wait(60) or None)
    second = Giver(as_blobs(data_of(9000)))
    blob = blob_of(data_of(9000))
    thread = threading.Thread(target=fetcher(tmp_path, first).fetch, args=([blob],))
    thread.start()
    assert holds.wait(60)
    seen: list[int] = []
    fetcher(tmp_path, second).fetch([blob], lambda _, count: seen.append(count))
    thread.join(60)
    assert second.asked == []
    assert seen == [9000]
    assert BlobStore(tmp_path).read(blob.digest) == data_of(9000)


def test_a_damaged_blob_that_appears_meanwhile_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob, store, real = blob_of(data_of(9000)), BlobStore(tmp_path), Partial.acquire

    def acquire(partial: Partial) -> bool:
        store.path(blob.digest).parent.mkdir(parents=True)
        store.path(blob.digest).write_bytes(b"rotten")
        return real(partial)

    monkeypatch.setattr(Partial, "acquire", acquire)
    fetcher(tmp_path, Giver(as_blobs(data_of(9000)))).fetch([blob])
    assert store.read(blob.digest) == data_of(9000)


def test_progress_adds_up_also_when_bytes_are_thrown_away(tmp_path: Path) -> None:
    seen: list[tuple[BlobRef, int]] = []
    liar = Giver(as_blobs(data_of(9000)), "http://liar", spoil=flip)
    good = Giver(as_blobs(data_of(9000)), "http://good")
    fetcher(tmp_path, liar, good).fetch([blob_of(data_of(9000))], lambda *told: seen.append(told))
    assert sum(count for _, count in seen) == 9000
    assert min(count for _, count in seen) == -9000


def test_a_full_disk_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = [0]
    real = partial_module.write_all_at

    def write_at(descriptor: int, data: bytes, at: int) -> None:
        written[0] += len(data)
        if written[0] > 5000:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor, data, at)

    giver, blob = Giver(as_blobs(data_of(9000))), blob_of(data_of(9000))
    with monkeypatch.context() as patched:
        patched.setattr(partial_module, "write_all_at", write_at)
        with pytest.raises(DiskFullError):
            fetcher(tmp_path, giver).fetch([blob])
    again = fetcher(tmp_path, giver)
    again.fetch([blob])
    assert again.fetched_bytes == 4000


def test_ctrl_c_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes while the main thread waits and others fetch."""
    fetched, goes_on = threading.Event(), threading.Event()
    count = [0]

    def before() -> None:
        count[0] += 1
        if count[0] == 4:
            fetched.set()
            goes_on.wait(60)

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        fetched.wait(60)
        raise KeyboardInterrupt

    giver, blob = Giver(as_blobs(data_of(9000)), before=before), blob_of(data_of(9000))
    threads: Sequence[threading.Thread] = ()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetcher(tmp_path, giver, options=FetchOptions(connections=1)).fetch([blob])
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("fetch-")]
    goes_on.set()
    for thread in threads:
        thread.join(60)
    again = fetcher(tmp_path, giver)
    again.fetch([blob])
    assert again.fetched_bytes == 9000 - 4000  # the piece that was under way is kept as well


# -- while something else is done ----------------------------------------------------------


def test_a_blob_can_be_used_while_later_ones_are_still_on_their_way(tmp_path: Path) -> None:
    first, second = data_of(4000, 1), data_of(4000, 2)
    used = threading.Event()

    def before() -> None:
        if giver.sent >= len(first):  # the second one comes only when the first one was used
            assert used.wait(60)

    giver = Giver(as_blobs(first, second), before=before)
    work = fetcher(tmp_path, giver, options=FetchOptions(connections=1))
    with work.fetching([blob_of(first), blob_of(second)]):
        work.wait_for(blob_of(first).digest)
        assert BlobStore(tmp_path).read(blob_of(first).digest) == first
        assert not BlobStore(tmp_path).has(blob_of(second).digest)
        used.set()
    assert BlobStore(tmp_path).read(blob_of(second).digest) == second


def test_who_waits_for_what_is_not_fetched_goes_on(tmp_path: Path) -> None:
    work = fetcher(tmp_path, Giver({}))
    work.wait_for(blob_of(b"never asked for").digest)
    with work.fetching([]):
        work.wait_for(blob_of(b"never asked for").digest)


def test_who_waits_for_what_cannot_be_had_is_told_why(tmp_path: Path) -> None:
    work = fetcher(tmp_path, Giver({}))
    with pytest.raises(BlobMissingError), work.fetching([blob_of(b"12345")]):
        work.wait_for(blob_of(b"12345").digest)


def test_what_failed_in_between_ends_the_fetching(tmp_path: Path) -> None:
    goes_on = threading.Event()

    def before() -> None:
        assert goes_on.wait(60)

    def fails() -> None:
        goes_on.set()
        raise ValueError("not a model")

    giver, blob = Giver(as_blobs(data_of(9000)), before=before), blob_of(data_of(9000))
    with pytest.raises(ValueError, match="not a model"), fetcher(tmp_path, giver).fetching([blob]):
        fails()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fetch-")]
    fetcher(tmp_path, giver).fetch([blob])  # and the next one goes on from what is there
    assert BlobStore(tmp_path).has(blob.digest)
