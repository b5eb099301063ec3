"""Pulling over HTTP, against a simulated server with faults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from barnraise.errors import (
    BlobMissingError,
    NoSuchVersionError,
    RefusedError,
    UnreachableError,
    UsageError,
    VerificationError,
)
from barnraise.releases.fetch import FetchOptions
from barnraise.releases.http_source import HttpSource, Reply
from barnraise.releases.pull import PullOptions, PullResult, pull
from barnraise.releases.trust import LIMITS
from published import PublishedRun, published

URL = "http://mirror.test:8000"
PIECE = 1000


@dataclass
class Server:
    """Serves a ``public/`` folder below ``prefix``.

    Attributes:
        breaks: after how many pieces each of the next answers for a path with ``what`` in it breaks off.
        silent: an answer that breaks off ends without an error.
        ranges: whether range requests are honoured.
        refuse: status of every answer, if set.
    """

    public: Path
    prefix: str = "/v1/releases/"
    breaks: list[int] = field(default_factory=list)
    what: str = "blobs"
    silent: bool = False
    ranges: bool = True
    refuse: int | None = None
    body: bytes = b""
    asked: list[tuple[str, str]] = field(default_factory=list)

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        path = url.removeprefix(URL)
        self.asked.append((path, headers.get("range", "")))
        if self.refuse:
            yield Reply(self.refuse, {}, iter([self.body]))
            return
        file = self.public / path.removeprefix(self.prefix)
        if not path.startswith(self.prefix) or not file.is_file():
            yield Reply(404, {}, iter([b"no"]))
            return
        data = file.read_bytes()
        if self.ranges and "range" in headers:
            first, last = (int(part) for part in headers["range"][6:].split("-"))
            part = {"content-range": f"bytes {first}-{last}/{len(data)}"}
            yield Reply(206, part, self._pieces(data[first : last + 1], path))
        else:
            yield Reply(200, {}, self._pieces(data, path))

    def _pieces(self, data: bytes, path: str) -> Iterator[bytes]:
        left = self.breaks.pop(0) if self.breaks and self.what in path else None
        for start in range(0, len(data), PIECE):
            if left == 0:
                if self.silent:
                    return
                raise UnreachableError("the connection broke")
            left = None if left is None else left - 1
            yield data[start : start + PIECE]


@pytest.fixture
def run(tmp_path: Path) -> PublishedRun:
    return published(tmp_path / "run", releases=2)


def fetch(server: Server, into: Path) -> PullResult:
    return pull(HttpSource(URL, server.open), "tiny-lm", into)


@pytest.mark.parametrize("prefix", ["/v1/releases/", "/"])
def test_from_a_gateway_and_from_a_static_mirror(run: PublishedRun, tmp_path: Path, prefix: str) -> None:
    server = Server(run.public, prefix)
    assert fetch(server, tmp_path / "model").version == "0.1.1"
    assert all(not asked for _, asked in server.asked)


def breaking(run: PublishedRun, *breaks: int, **settings: bool) -> Server:
    """A server that breaks off the transfers of the keyframe."""
    keyframe = run.entries[0].keyframe
    assert keyframe is not None
    return Server(run.public, breaks=list(breaks), what=keyframe.digest[5:], **settings)


def ranges_of(server: Server) -> list[str]:
    """What was asked for of the keyframe."""
    return [asked for path, asked in server.asked if server.what in path]


@pytest.mark.parametrize("silent", [False, True])
def test_a_broken_transfer_goes_on_where_it_ended(run: PublishedRun, tmp_path: Path, silent: bool) -> None:
    server = breaking(run, 3, 4, silent=silent)
    done = fetch(server, tmp_path / "model")
    last = done.model_bytes - 1
    assert ranges_of(server) == ["", f"bytes=3000-{last}", f"bytes=7000-{last}"]
    assert done.fetched_bytes == done.plan.fetch_bytes


def test_a_server_without_ranges_starts_over(run: PublishedRun, tmp_path: Path) -> None:
    server = breaking(run, 3, ranges=False)
    done = fetch(server, tmp_path / "model")
    assert done.fetched_bytes == done.plan.fetch_bytes + 3000


def test_what_breaks_again_and_again_is_given_up_and_kept(run: PublishedRun, tmp_path: Path) -> None:
    server = breaking(run, 3, 0, 0, 0)
    with pytest.raises(UnreachableError):
        fetch(server, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    fetch(server, tmp_path / "model")
    assert ranges_of(server)[-1].startswith("bytes=3000-")


def test_a_mirror_serves_blobs_wherever_it_has_them(run: PublishedRun, tmp_path: Path) -> None:
    """It is asked for blobs only, so it has never said where its metadata lies."""
    source = breaking(run, *[0] * 100)
    mirror = HttpSource(URL, Server(run.public, prefix="/").open)
    one = FetchOptions(connections=1)  # with several, the mirror may be asked for the keyframe first
    done = pull(HttpSource(URL, source.open), "tiny-lm", tmp_path / "model", PullOptions(mirrors=(mirror,), fetch=one))
    assert done.changed
    assert done.warnings == (f"the connection broke; {URL} was asked instead",)


def test_no_byte_beyond_the_stated_size_is_kept(run: PublishedRun, tmp_path: Path) -> None:
    manifest = run.entries[1].manifest
    with run.store.path(manifest.digest).open("ab") as file:
        file.write(b"x" * 100_000)
    assert fetch(Server(run.public), tmp_path / "model").changed


def test_endless_metadata_is_cut_off(run: PublishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "timestamp", 100)
    with pytest.raises(VerificationError, match="more than 100 bytes"):
        fetch(Server(run.public), tmp_path / "model")


def test_a_missing_blob_and_a_missing_index(run: PublishedRun, tmp_path: Path) -> None:
    run.store.delete(run.entries[1].manifest.digest)
    with pytest.raises(BlobMissingError, match="use another mirror"):
        fetch(Server(run.public), tmp_path / "model")
    with pytest.raises(NoSuchVersionError, match="lists no releases"):
        fetch(Server(tmp_path), tmp_path / "model")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (json.dumps({"error": {"code": "quota-exceeded", "reason": "slow\x1b[2Jdown"}}).encode(), "quota-exceeded"),
        (b"<html>", ""),
        (b"[" * 100_000, ""),
        (b'{"error": 1}', ""),
    ],
)
def test_a_refusal_is_told_without_its_control_characters(tmp_path: Path, body: bytes, code: str) -> None:
    with pytest.raises(RefusedError, match="status 429") as caught:
        fetch(Server(tmp_path, refuse=429, body=body), tmp_path / "model")
    assert (caught.value.status, caught.value.remote_code) == (429, code)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 500])
def test_redirects_are_not_followed(tmp_path: Path, status: int) -> None:
    with pytest.raises(RefusedError, match=str(status)):
        fetch(Server(tmp_path, refuse=status), tmp_path / "model")


@pytest.mark.parametrize("url", ["ftp://a", "http://", "http://a/?q=1", "http://a/#x", "file:///etc/passwd"])
def test_only_plain_http_urls(url: str) -> None:
    with pytest.raises(UsageError):
        HttpSource(url)
