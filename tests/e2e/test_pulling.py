"""Pulling over real sockets: cut connections, stock file servers, signals, and a mirror that follows."""

from __future__ import annotations

import functools
import http.server
import json
import os
import pty
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from barnraise.errors import UnreachableError
from barnraise.message import BlobRef
from barnraise.releases.cache import Cache
from barnraise.releases.fetch import Fetcher, FetchOptions
from barnraise.releases.http_source import HttpSource
from barnraise.releases.load import load
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions, read_index
from processes import until
from published import PublishedRun, published
from static_server import serving

MIB = 1 << 20


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def stored(root: Path, size: int, seed: int) -> BlobRef:
    return BlobRef(digest=BlobStore(root).put(random.Random(seed).randbytes(size)), size_bytes=size)


def test_a_cut_connection_wastes_little(tmp_path: Path) -> None:
    """What the server sent into its socket and we do not have is lost: 4 MiB a cut at most."""
    blob, draws = stored(tmp_path / "public", 40 * MIB, 1), random.Random(2)
    cuts: list[int] = []

    def cut_after(path: str) -> int | None:
        if "blobs/" not in path or len(cuts) >= 12:
            return None
        cuts.append(draws.randrange(6 * MIB))
        return cuts[-1]

    with serving(tmp_path / "public", cut_after=cut_after) as static:
        while not BlobStore(tmp_path / "store").has(blob.digest):
            fetcher = Fetcher(
                [HttpSource(static.url)], BlobStore(tmp_path / "store"), FetchOptions(stretch_bytes=8 * MIB)
            )
            try:
                fetcher.fetch([blob])
            except UnreachableError:
                continue
    assert len(cuts) == 12
    assert sum(static.sent.values()) - blob.size_bytes <= len(cuts) * 4 * MIB
    assert BlobStore(tmp_path / "store").read(blob.digest) == BlobStore(tmp_path / "public").read(blob.digest)


def test_connections_serve_again(tmp_path: Path) -> None:
    blobs = [stored(tmp_path / "public", 300_000 + number, number) for number in range(12)]
    with serving(tmp_path / "public") as static:
        Fetcher([HttpSource(static.url)], BlobStore(tmp_path / "store"), FetchOptions(connections=3)).fetch(blobs)
    assert len(static.requests) >= 12
    assert static.connections <= 6  # three that ask where the blobs are, while nobody knows


@contextmanager
def stock_server(root: Path) -> Iterator[str]:
    """What ``python -m http.server`` runs; it ignores ranges."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_any_static_server_is_a_mirror(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    options = PullOptions(fetch=FetchOptions(stretch_bytes=4000))
    with stock_server(run.public) as url:
        done = pull(HttpSource(url), "tiny-lm", tmp_path / "model", options)
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.3"].tobytes()
    assert done.warnings == ()


def test_pulling_again_asks_for_the_timestamp_only(tmp_path: Path) -> None:
    run = published(tmp_path / "run")
    with serving(run.public) as static:
        pull(HttpSource(static.url), "tiny-lm", tmp_path / "model")
        static.sent.clear()
        assert not pull(HttpSource(static.url), "tiny-lm", tmp_path / "model").changed
    assert {path.rpartition("/")[2] for path in static.sent} <= {"timestamp.json", "1.root.json"}
    assert sum(static.sent.values()) < 4096


def pulling(url: str, into: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "barnraise", "pull", "tiny-lm", "--into", str(into), "--from", url, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_pull_that_is_stopped_leaves_the_old_release_and_goes_on_later(tmp_path: Path, how: signal.Signals) -> None:
    run = published(tmp_path / "run", releases=1)
    with serving(run.public) as static:
        pull(HttpSource(static.url), "tiny-lm", tmp_path / "model")
        before = load(tmp_path / "model")[2].tobytes()
        patch = run.release("0.1.1").patch
        assert patch is not None
        reached, goes_on, pieces = threading.Event(), threading.Event(), [0]

        def hold(path: str) -> None:
            if patch.digest[5:] in path:
                pieces[0] += 1
                if pieces[0] == 2:
                    reached.set()
                    goes_on.wait(60)

        static.hold, static.piece = hold, 4000
        process = pulling(static.url, tmp_path / "model")
        assert reached.wait(60)
        partial = Cache.of_user().root / "partial" / f"{patch.digest[3:]}.have"
        until(lambda: partial.exists() and partial.stat().st_size >= 16, "a piece in the cache")
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        goes_on.set()
        assert load(tmp_path / "model")[2].tobytes() == before
        if how == signal.SIGINT:
            assert (process.returncode, err) == (130, b"barnraise: stopped\n")
        assert b"bytes to fetch" in out or how == signal.SIGKILL
        assert pull(HttpSource(static.url), "tiny-lm", tmp_path / "model").changed
    wanted = [asked for path, asked in static.requests if patch.digest[5:] in path]
    assert wanted == ["", f"bytes=4000-{patch.size_bytes - 1}"]
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.1"].tobytes()


def refused(run: PublishedRun, into: Path, *before: str) -> dict[str, str]:
    """The error of a pull that fails for the disk's sake, started by the command ``before`` if given."""
    command = [*before, sys.executable, "-m", "barnraise", "pull", "tiny-lm", "--into", str(into)]
    done = subprocess.run([*command, "--from", str(run.public), "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "")
    error: dict[str, str] = json.loads(done.stdout)["error"]
    return error


_READ_ONLY = """
import errno, os, sys
from functools import wraps
below = sys.argv[1]
def refusing(real):
    @wraps(real)
    def call(path, *args, **options):
        if str(path).startswith(below):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, *args, **options)
    return call
os.mkdir, os.open = refusing(os.mkdir), refusing(os.open)
from barnraise.cli import run
sys.exit(run(sys.argv[5:]))
"""


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    """As one that is mounted read-only: nothing below a folder can be made or opened for writing."""
    target = tmp_path / "target"
    target.mkdir()
    error = refused(
        published(tmp_path / "run", releases=1), target / "model", sys.executable, "-c", _READ_ONLY, str(target)
    )
    assert error["code"] == "storage"
    assert "cannot be written" in error["reason"]
    assert list(target.iterdir()) == []


def test_a_disk_that_really_takes_no_more(tmp_path: Path) -> None:
    """The kernel lets this process write no file of more than 8 KiB, which is less than the model."""
    target = tmp_path / "target"
    target.mkdir()
    limited = ("sh", "-c", 'ulimit -f 16 && exec "$0" "$@"')  # blocks of 512 bytes
    error = refused(published(tmp_path / "run", releases=1), target / "model", *limited)
    assert error["code"] == "disk-full"
    assert "nothing was changed" in error["reason"]
    assert list(target.iterdir()) == []


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    with serving(run.public) as static:
        process = pulling(static.url, tmp_path / "piped")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"")
        assert b"take the keyframe of 0.1.0" in out
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "other"), "TERM": "xterm", "COLUMNS": "80"}
        seen = on_a_terminal(["pull", "tiny-lm", "--into", str(tmp_path / "seen"), "--from", static.url], environment)
        copied = on_a_terminal(["mirror", static.url, str(tmp_path / "mirror")], environment)
    for bar in (seen, copied):
        assert b"kB" in bar
        assert b"/s" in bar


def on_a_terminal(argv: list[str], environment: dict[str, str]) -> bytes:
    """What a command writes to standard error when that is a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "barnraise", *argv]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return seen


def test_a_mirror_follows_a_run(tmp_path: Path) -> None:
    run = published(tmp_path / "run", releases=1)
    folder = tmp_path / "mirror"
    with serving(run.public) as static:
        command = [sys.executable, "-m", "barnraise", "mirror", static.url, str(folder), "--watch", "1", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            until(lambda: newest(folder, tmp_path) == "0.1.0", "the mirror")
            run.release("0.1.1")
            until(lambda: newest(folder, tmp_path) == "0.1.1", "the mirror to follow")
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert err == b""
    told = [json.loads(line)["result"] for line in out.splitlines()]
    assert [result["version"] for result in told] == ["0.1.0", "0.1.1"]
    with stock_server(folder) as url:
        pull(HttpSource(url), "tiny-lm", tmp_path / "model")
    assert load(tmp_path / "model")[2].tobytes() == run.models["0.1.1"].tobytes()


def newest(folder: Path, tmp_path: Path) -> str:
    """The newest release of a mirror; empty while there is none."""
    if not (folder / "metadata" / "timestamp.json").exists():
        return ""
    with stock_server(folder) as url:
        return read_index(HttpSource(url), TrustOptions(home=tmp_path / "reader")).index.releases[-1].version
