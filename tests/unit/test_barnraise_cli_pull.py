"""The commands of somebody who pulls: pull, cache, mirror, in words and as one envelope."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from barnraise.cli import cache as cache_command
from barnraise.cli import mirror as mirror_command
from barnraise.cli import run
from barnraise.releases.cache import Cache
from barnraise.releases.load import load
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import FolderSource
from commands import answered
from published import PublishedRun, published


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("CONFIG", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def releases(tmp_path: Path) -> PublishedRun:
    return published(tmp_path / "run", releases=3)


def test_a_plan_comes_before_what_was_done(releases: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    source = ("--from", str(releases.public))
    _, would = answered(capsys, "pull", "tiny-lm", "--into", "model", "--dry-run", *source)
    assert not Path("model").exists()
    assert [(step["step"], step["version"], step["at_hand"]) for step in would["steps"]] == [
        ("keyframe", "0.1.0", False),
        ("patch", "0.1.1", False),
        ("patch", "0.1.2", False),
    ]
    assert (would["is_there"], would["changed"]) == (False, False)
    assert would["fetch_bytes"] > sum(step["size_bytes"] for step in would["steps"])
    assert run(["pull", "tiny-lm", "--into", "model", *source]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("take the keyframe of 0.1.0 (13,")
    assert lines[2].startswith("apply the patch to 0.1.2 (")
    assert "bytes to fetch, with card, reports and manifest" in lines[3]
    assert lines[4].startswith("tiny-lm 0.1.2 is in ")
    assert "bytes were fetched for a model of" in lines[5]
    assert len(lines) == 6
    _, there = answered(capsys, "pull", "tiny-lm", "--into", "model", "--dry-run", *source)
    assert (there["is_there"], there["fetch_bytes"], there["steps"]) == (True, 0, [])


def test_mirrors_are_named_or_in_the_environment(
    releases: PublishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _ = answered(capsys, "mirror", str(releases.public), str(tmp_path / "mirror"))
    assert code == 0
    for path in (releases.public / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()
    source, other = ("--from", str(releases.public)), str(tmp_path / "mirror")
    code, error = answered(capsys, "pull", "tiny-lm", "--into", "model", *source)
    assert (code, error["code"]) == (7, "blob-missing")
    code, done = answered(capsys, "pull", "tiny-lm", "--into", "model", *source, "--mirror", other)
    assert (code, done["changed"]) == (0, True)
    assert all(warning.endswith(f"{other} was asked instead") for warning in done["warnings"])
    monkeypatch.setenv("BARNRAISE_MIRRORS", f" {other}  {other} ")
    code, done = answered(capsys, "pull", "tiny-lm", "--into", "second", *source, "--cache", str(tmp_path / "new"))
    assert (code, done["changed"]) == (0, True)
    assert run(["pull", "tiny-lm", "--into", "third", *source, "--cache", str(tmp_path / "newer")]) == 0
    assert "barnraise: warning: " in capsys.readouterr().err
    code, error = answered(capsys, "pull", "tiny-lm", "--into", "x", *source, "--mirror", str(tmp_path))
    assert (code, error["code"]) == (7, "not-a-run-folder")


@pytest.mark.parametrize("count", ["0", "33", "x"])
def test_how_many_connections(releases: PublishedRun, capsys: pytest.CaptureFixture[str], count: str) -> None:
    source = ("--from", str(releases.public))
    code, error = answered(capsys, "pull", "tiny-lm", "--into", "m", *source, "--connections", count)
    assert (code, error["code"]) == (2, "usage")


def test_the_cache_in_words(releases: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache"]) == 0
    assert capsys.readouterr().out.startswith("0 blobs of 0 bytes in ")
    assert run(["pull", "tiny-lm", "--into", "model", "--from", str(releases.public)]) == 0
    capsys.readouterr()
    assert run(["cache", "ls"]) == 0
    out = capsys.readouterr().out
    assert "tiny-lm 0.1.0 keyframe" in out
    assert "which may hold 10,737,418,240" in out
    assert max(len(line) for line in out.splitlines()[:-1]) <= 80
    keyframe = releases.entries[0].keyframe
    assert keyframe is not None
    Cache.of_user().store.path(keyframe.digest).write_bytes(b"rotten")
    assert run(["cache", "verify"]) == 0
    out = capsys.readouterr().out
    assert f"damaged and removed, to be fetched again when needed: {keyframe.digest[:15]}.. (tiny-lm 0.1.0" in out
    assert out.rstrip().endswith("1 damaged")
    assert run(["cache", "rm", "tiny-lm"]) == 0
    assert "; 0 blobs of 0 bytes stay in " in capsys.readouterr().out


def test_the_cache_for_programs(releases: PublishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    answered(capsys, "pull", "tiny-lm", "--into", "model", "--from", str(releases.public))
    _, listed = answered(capsys, "cache", "ls")
    assert listed["size_bytes"] == sum(blob["size_bytes"] for blob in listed["blobs"]) > 0
    whats = {blob["belongs_to"] for blob in listed["blobs"]}
    assert {"tiny-lm 0.1.2 patch", "tiny-lm 0.1.2 manifest"} <= whats
    first, second = (blob["digest"] for blob in listed["blobs"][:2])
    _, removed = answered(capsys, "cache", "rm", first, second[3:12])
    assert (removed["removed"], {blob["digest"] for blob in removed["blobs"]}) == (2, {first, second})
    _, checked = answered(capsys, "cache", "verify")
    assert (checked["checked"], checked["damaged"]) == (len(listed["blobs"]) - 2, 0)
    _, removed = answered(capsys, "cache", "rm", "--all")
    assert removed["removed"] == checked["checked"]
    _, listed = answered(capsys, "cache")
    assert (listed["blobs"], listed["size_bytes"]) == ([], 0)


@pytest.mark.parametrize(
    "argv", [["rm"], ["rm", "no-such-run"], ["ls", "x"], ["verify", "--all"], ["clean"], ["rm", ""]]
)
def test_what_is_no_command_on_the_cache(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    code, error = answered(capsys, "cache", *argv)
    assert (code, error["code"]) == (2, "usage")


def test_a_limit_that_is_no_number(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARNRAISE_CACHE_MAX_BYTES", "much")
    code, error = answered(capsys, "cache")
    assert (code, error["code"]) == (3, "config-value")


def test_another_cache(releases: PublishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, cache = ("--from", str(releases.public)), ("--cache", str(tmp_path / "else"))
    answered(capsys, "pull", "tiny-lm", "--into", "model", *source, *cache)
    _, listed = answered(capsys, "cache", "ls", *cache)
    assert listed["folder"] == str(tmp_path / "else")
    assert listed["blobs"]
    assert not Cache.of_user().root.exists()
    assert cache_command.find_cache(None) == Cache.of_user()


def test_a_mirror_in_words(releases: PublishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["mirror", str(releases.public), str(tmp_path / "mirror")]
    assert run(argv) == 0
    assert "is in step with tiny-lm: 3 releases up to 0.1.2; " in capsys.readouterr().out
    assert run([*argv, "--prune", "--check"]) == 0
    assert "was in step with tiny-lm already" in capsys.readouterr().out
    assert run(["mirror", str(releases.public), str(tmp_path / "run")]) == 2
    assert "holds other things than a mirror" in capsys.readouterr().err


def test_a_watching_mirror_survives_errors(
    releases: PublishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pauses are where the world changes: the source breaks, is mended, and then somebody presses Ctrl-C."""
    timestamp = releases.public / "metadata" / "timestamp.json"
    whole = timestamp.read_bytes()
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        match len(pauses):
            case 1:
                timestamp.write_bytes(b"{")
            case 2:
                timestamp.write_bytes(whole)
                releases.release("0.1.3")
            case _:
                raise KeyboardInterrupt

    monkeypatch.setattr(mirror_command, "Event", lambda: SimpleNamespace(wait=pause))
    assert run(["mirror", str(releases.public), str(tmp_path / "mirror"), "--watch", "5"]) == 130
    out, err = capsys.readouterr()
    assert pauses == [5, 5, 5]
    assert ["up to 0.1.2" in line for line in out.splitlines()] == [True, False]
    assert "up to 0.1.3" in out
    assert "the mirror is as it was" in err


def test_pulls_at_the_same_time_share_a_cache_that_is_too_small(releases: PublishedRun, tmp_path: Path) -> None:
    """Each makes room while the others need what is there."""
    cache = Cache(tmp_path / "shared", max_bytes=1000)

    def work(number: int) -> None:
        for wanted in ("0.1.2", "0.1.0", "0.1.1"):
            into = tmp_path / f"model-{number}"
            pull(FolderSource(releases.public), f"tiny-lm@={wanted}", into, PullOptions(cache=cache))
            assert load(into)[2].tobytes() == releases.models[wanted].tobytes()

    with ThreadPoolExecutor(4) as pool:
        failed = [future.exception() for future in [pool.submit(work, number) for number in range(4)]]
    assert failed == [None] * 4
    assert sum(entry.size_bytes for entry in cache.entries()) <= 1000
