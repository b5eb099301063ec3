"""Fetch blobs from several sources at once, resumable, and keep none whose digest is wrong.

A few threads take stretches of blobs from one list. What arrives is written to its place at once
(:mod:`barnraise.releases.partial`), so a connection that breaks, or a process that ends, loses
nothing but what was in the network's buffers. Which source is asked is decided in
:mod:`barnraise.releases.transfer`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from barnraise.digest import digest_file
from barnraise.errors import BarnraiseError, BlobMissingError, NetworkError, UnreachableError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases.partial import Partial, Stretch
from barnraise.releases.store import BlobStore
from barnraise.releases.stream import BlobGiver, BlobStream
from barnraise.releases.transfer import EARLIER, Standing, Transfer

__all__ = ["CONNECTIONS", "FetchOptions", "Fetcher", "Progress", "silent"]

CONNECTIONS = 4
WAIT_S = 0.2
LEAVE_S = 5.0

Progress = Callable[[BlobRef, int], None]
"""Called by any thread with how many more bytes of a blob are there; negative when some were thrown away."""


def silent(blob: BlobRef, count: int) -> None:
    """The progress that nobody hears of."""


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How to fetch.

    Attributes:
        connections: transfers at a time.
        stretch_bytes: what is asked for at once; a larger blob comes in several parts at a time.
        slow_bytes_per_s, slow_after_s: a source that gives less than this, for so long, is left for
            another one if there is one.
        clock: seconds, for that.
    """

    connections: int = CONNECTIONS
    stretch_bytes: int = 16 << 20
    slow_bytes_per_s: float = 16 << 10
    slow_after_s: float = 10.0
    clock: Callable[[], float] = time.monotonic


@dataclass
class _Entry:
    """A transfer, its place on the disk, and how far it is. ``users``: threads that may write there now."""

    transfer: Transfer
    partial: Partial
    users: int = 0
    acquired: bool = False
    finishing: bool = False
    done: bool = False


class Fetcher:
    """Sources, from the one that is asked first, and the store where blobs go.

    Attributes:
        fetched_bytes: read from all sources so far, thrown away or not.
        warnings: what was wrong with sources, although all went well in the end.
    """

    def __init__(
        self,
        sources: Sequence[BlobGiver],
        store: BlobStore,
        options: FetchOptions | None = None,
    ) -> None:
        assert sources
        self.fetched_bytes = 0
        self.warnings: list[str] = []
        self._sources = list(sources)
        self._store = store
        self._options = options or FetchOptions()
        self._progress: Progress = silent
        self._standing = Standing(len(self._sources))
        self._changed = threading.Condition()
        self._entries: list[_Entry] = []
        self._failure: BaseException | None = None

    def fetch(self, blobs: Iterable[BlobRef], progress: Progress | None = None) -> None:
        """Have the blobs in the store, each verified. What is there already is the caller's to verify.

        Raises:
            VerificationError: a source sent something else, and no other one the right thing.
            BlobMissingError, NetworkError: nobody has it, or can be reached.
            DiskFullError: no space left. What was fetched is kept for the next try, whatever happens.
        """
        with self.fetching(blobs, progress):
            pass

    @contextmanager
    def fetching(self, blobs: Iterable[BlobRef], progress: Progress | None = None) -> Iterator[None]:
        """Fetch on other threads while the block runs; at its end the blobs are there, as after :meth:`fetch`.

        A block that fails ends the fetching, too. One at a time.
        """
        wanted = {blob.digest: blob for blob in blobs if not self._store.has(blob.digest)}
        self._entries = [_Entry(Transfer(blob, self._standing), Partial(self._store, blob)) for blob in wanted.values()]
        self._failure = None
        self._progress = progress or silent
        # Not an executor's threads: at its end a program waits for those, however long a source gives nothing.
        stretches = sum(-(-blob.size_bytes // self._options.stretch_bytes) for blob in wanted.values())
        threads = [
            threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True)
            for number in range(min(self._options.connections, stretches + len(wanted)))
        ]
        try:
            for thread in threads:
                thread.start()
            yield
            for thread in threads:
                thread.join()
        except BaseException as error:
            self._stop(error)
            if isinstance(error, Exception):  # not at Ctrl-C: threads that wait for a source end when they hear from it
                for thread in threads:
                    thread.join(LEAVE_S / len(threads))
            raise
        if self._failure is not None:
            raise self._failure

    def wait_for(self, digest: str) -> None:
        """Until a blob that is being fetched is in the store; at once for one that is not.

        Raises:
            See :meth:`fetch`.
        """
        entry = next((entry for entry in self._entries if entry.transfer.blob.digest == digest), None)
        with self._changed:
            while entry is not None and not entry.done:
                if self._failure is not None:
                    raise self._failure
                self._changed.wait(WAIT_S)

    def _work(self) -> None:
        """One thread: take stretches until there are none."""
        try:
            while (taken := self._take()) is not None:
                entry, source, stretch = taken
                with self._using(entry):
                    if stretch is not None:
                        self._get(entry, source, stretch)
                    else:
                        self._finish(entry)
        except BaseException as error:  # noqa: BLE001  carried to the thread that called fetch, which raises it
            self._stop(error)

    def _take(self) -> tuple[_Entry, int, Stretch | None] | None:
        """What to do next: a stretch, or None for it when a blob is complete; None when all is done."""
        with self._changed:
            while self._failure is None and not all(entry.done for entry in self._entries):
                for entry in self._entries:
                    if (found := self._next_of(entry)) is not None:
                        entry.users += 1
                        return (entry, *found)
                self._changed.wait(WAIT_S)  # also for other processes, which notify nobody
            return None

    def _next_of(self, entry: _Entry) -> tuple[int, Stretch | None] | None:
        transfer = entry.transfer
        if entry.done or entry.finishing or not (entry.acquired or self._begin(entry)):
            return None
        if transfer.is_hopeless:
            raise self._hopeless(transfer)
        stretch = transfer.next_stretch(entry.partial.have, self._options.stretch_bytes)
        assert transfer.source is not None
        if stretch is not None:
            transfer.flying.append(stretch)
            self._standing.busy[transfer.source] += 1
            return transfer.source, stretch
        if not entry.users:
            entry.finishing = True
            return transfer.source, None
        return None

    def _begin(self, entry: _Entry) -> bool:
        """Take a blob on; False if another process fetches it, or just did."""
        if not entry.partial.acquire():
            return False
        blob = entry.transfer.blob
        if self._store.has(blob.digest):
            if digest_file(self._store.path(blob.digest)) == blob.digest:
                entry.partial.release(keep=False)
                entry.done = True
                self._progress(blob, blob.size_bytes)
                return False
            self._store.delete(blob.digest)
        entry.acquired = True
        if entry.partial.have:
            entry.transfer.givers.add(EARLIER)
            self._progress(blob, entry.partial.size)
        return True

    @contextmanager
    def _using(self, entry: _Entry) -> Iterator[None]:
        """Let go of the files when this is the last thread that uses them and nobody goes on."""
        try:
            yield
        finally:
            with self._changed:
                entry.users -= 1
                if self._failure is not None and not entry.users:
                    entry.partial.release(keep=True)
                self._changed.notify_all()

    def _stop(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            for entry in self._entries:
                if not entry.users:
                    entry.partial.release(keep=True)
            self._changed.notify_all()

    def _get(self, entry: _Entry, source: int, stretch: Stretch) -> None:
        """Ask a source for a stretch, and write what comes."""
        gained = 0
        error: BarnraiseError | None = None
        try:
            with self._sources[source].open_blob(entry.transfer.blob, *stretch) as stream:
                for count in self._write(entry, source, stretch, stream):
                    gained += count
        except (NetworkError, BlobMissingError, VerificationError) as found:
            error = found
        with self._changed:
            entry.transfer.flying.remove(stretch)
            self._standing.busy[source] -= 1
            if error is not None and self._failure is None:
                self._broke(entry, source, error, gained)

    def _write(self, entry: _Entry, source: int, stretch: Stretch, stream: BlobStream) -> Iterator[int]:
        """Write a stream up to the end of its stretch; yields how many bytes of each piece were new."""
        at, stop = stream.at, stretch[1]
        if stream.whole:
            stop = entry.transfer.blob.size_bytes
            if not self._may_take_whole(entry, source, stretch):
                return
        window_s, window_at = self._options.clock(), at
        while at < stop:
            if self._failure is not None:
                return
            piece = next(stream.pieces, b"")[: stop - at]
            if not piece:
                raise UnreachableError(f"{self._sources[source].label} ended a blob after {at:,} of {stop:,} bytes")
            gained = entry.partial.write(at, piece)
            at += len(piece)
            with self._changed:
                entry.transfer.givers.add(source)
                self.fetched_bytes += len(piece)
            self._progress(entry.transfer.blob, gained)
            yield gained
            if (now_s := self._options.clock()) - window_s >= self._options.slow_after_s:
                self._require_rate(source, (at - window_at) / (now_s - window_s))
                window_s, window_at = now_s, at

    def _may_take_whole(self, entry: _Entry, source: int, stretch: Stretch) -> bool:
        """A source sends all of a blob, whatever it is asked for; whether this is the thread that takes it."""
        with self._changed:
            self._standing.rangeless.add(source)
            is_needed = entry.partial.size < entry.transfer.blob.size_bytes
            return is_needed and (stretch[0] == 0 or entry.transfer.flying == [stretch])

    def _require_rate(self, source: int, bytes_per_s: float) -> None:
        if len(self._sources) > 1 and bytes_per_s < self._options.slow_bytes_per_s:
            raise UnreachableError(f"{self._sources[source].label} gives only {bytes_per_s:,.0f} bytes/s")

    def _broke(self, entry: _Entry, source: int, error: BarnraiseError, gained: int) -> None:
        transfer = entry.transfer
        if transfer.broke(source, error, gained=gained):
            self._clear(entry)
        if transfer.source is not None and transfer.source != source:
            self._warn(f"{error}; {self._sources[transfer.source].label} was asked instead")

    def _finish(self, entry: _Entry) -> None:
        """All bytes are there: keep them if they are the blob."""
        transfer, partial = entry.transfer, entry.partial
        found = digest_file(partial.path)
        if found == transfer.blob.digest:
            self._store.adopt(partial.path, found)
            with self._changed:
                partial.release(keep=False)
                entry.done = True
            return
        with self._changed:
            if (liar := transfer.was_wrong()) is not None:
                error = VerificationError(
                    f"{self._sources[liar].label} sent {found[:15]}.. for blob {transfer.blob.digest[:15]}.. "
                    f"({transfer.blob.size_bytes:,} bytes); it was thrown away. Use another mirror"
                )
                transfer.lied(liar, error)
                self._warn(str(error))
            self._clear(entry)
            entry.finishing = False

    def _clear(self, entry: _Entry) -> None:
        self._progress(entry.transfer.blob, -entry.partial.size)
        entry.partial.clear()
        entry.transfer.givers.clear()

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def _hopeless(self, transfer: Transfer) -> BarnraiseError:
        """The error of the source that was to be asked first, naming the others."""
        error = transfer.failed[0]
        others = [self._sources[number].label for number in sorted(transfer.failed) if number]
        also = f" ({', '.join(others)} did no better)" if others else ""
        if isinstance(error, VerificationError):
            return VerificationError(
                f"{self._sources[0].label}: {error}{also}; nothing was installed. Use another mirror"
            )
        error.args = (f"{error}{also}", *error.args[1:])
        return error
