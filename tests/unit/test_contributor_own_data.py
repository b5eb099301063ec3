"""The text that a contributor brings: a part of it for each lease, and none of it anywhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from barnraise.data_config import DataConfig, LocalData, StdlibData
from barnraise.errors import ConfigValueError, UsageError
from barnraise.protocol import RunInfo
from contributor.folder import NodeFolder
from contributor.own_data import OwnData, check_brought
from contributor.transport import Answer
from node_world import World
from pretend_gateway import PretendGateway

LOCAL = LocalData(corpus="local", held_out=("texts/*.txt",))
SECRET = "the-key-is-under-the-third-flowerpot"


def unheard(sentence: str) -> None:
    raise AssertionError(sentence)


def brought(folder: Path, files: int = 6, lines: int = 50) -> OwnData:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (folder / f"{number}.txt").write_text("".join(f"file {number} line {line}\n" for line in range(lines)))
    return OwnData(("*.txt",), folder)


def test_small_text_is_used_whole_in_an_order_that_the_lease_decides(tmp_path: Path) -> None:
    own = brought(tmp_path)
    parts = {own.part(seed, unheard) for seed in range(6)}
    assert len(parts) > 1
    assert {tuple(sorted(part.splitlines())) for part in parts} == {
        tuple(sorted(b"".join(path.read_bytes() for path in tmp_path.iterdir()).splitlines()))
    }
    assert own.part(3, unheard) == own.part(3, unheard)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**48 - 1), most_bytes=st.integers(20, 3000))
@example(seed=1, most_bytes=712)  # of the last file there is room for no whole line, and its part ends with one
def test_a_part_is_as_large_as_it_may_be_and_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, seed: int, most_bytes: int
) -> None:
    own = brought(tmp_path_factory.getbasetemp() / "shared", files=3, lines=40)
    everything = set(own.part(0, unheard).splitlines())
    part = own.part(seed, unheard, most_bytes)
    assert 0 < len(part) <= most_bytes
    if most_bytes >= 60:  # three lines
        assert set(part.splitlines()) <= everything


def test_leases_see_different_parts_of_one_large_file(tmp_path: Path) -> None:
    own = brought(tmp_path, files=1, lines=2000)
    starts = {own.part(seed, unheard, 500).split(b"\n")[0] for seed in range(20)}
    assert len(starts) > 10


def test_what_cannot_be_used_is_told_and_the_rest_is_used(tmp_path: Path) -> None:
    own = brought(tmp_path, files=2)
    for name in "abcde":
        (tmp_path / f"{name}.txt").write_bytes(b"\0junk")
    told: list[str] = []
    assert own.part(0, told.append)
    (sentence,) = told
    assert sentence.startswith("5 of 7 files are left out; ")
    assert sentence.count("zero bytes") == 3
    assert sentence.endswith("; and 2 more")


def test_nothing_that_can_be_used_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(ConfigValueError, match=r"none of 1 files of \*\.txt can be trained on; .*a\.txt: it is empty"):
        OwnData(("*.txt",), tmp_path).part(0, unheard)


def test_text_that_is_missing_or_that_nobody_asked_for_is_said_before_anything_begins(tmp_path: Path) -> None:
    own = brought(tmp_path)
    with pytest.raises(UsageError, match="say which, such as --data"):
        check_brought(LOCAL, None, unheard)
    with pytest.raises(UsageError, match="the run trains on python-stdlib; leave --data out"):
        check_brought(StdlibData(shards={"text": ("json",)}), own, unheard)
    with pytest.raises(ConfigValueError, match="matches no file"):
        check_brought(LOCAL, OwnData(("nothing.txt",), tmp_path), unheard)
    check_brought(LOCAL, own, unheard)
    check_brought(StdlibData(shards={"text": ("json",)}), None, unheard)


@dataclass
class Listening(PretendGateway):
    """A coordinator of a run on local text that remembers everything it was sent."""

    data: DataConfig = LOCAL
    heard: list[bytes] = field(default_factory=list)

    def info(self) -> RunInfo:
        return super().info().model_copy(update={"data": self.data})

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        self.heard.append(f"{method} {path} ".encode() + (body or b""))
        return super().request(method, path, body)


def test_nothing_of_the_text_leaves_the_machine_but_in_the_update(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    own = brought(tmp_path / "notes")
    (tmp_path / "notes" / f"{SECRET}.txt").write_text(f"{SECRET}\n" * 40)
    (tmp_path / "notes" / f"{SECRET}.bin.txt").write_bytes(b"\0" + SECRET.encode())
    gateway = Listening()
    world = World(NodeFolder(tmp_path / "node"), gateway=gateway, own=own)
    assert world.process() == "1 of 1 units done"
    assert len(gateway.received) == 1
    assert any(SECRET in notice for notice in world.notices())  # the owner is told which file is left out
    assert [heard.split(b" ")[0] for heard in gateway.heard] == [b"POST", b"POST", b"PUT"]
    for heard in gateway.heard:
        for private in (SECRET, str(tmp_path), ".txt", "line 1"):
            assert private.encode() not in heard


def test_an_interrupted_unit_goes_on_with_the_same_part(tmp_path: Path) -> None:
    own = brought(tmp_path / "notes")
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = World(NodeFolder(tmp_path / "whole"), gateway=Listening(), own=own)
    whole.process()
    broken = World(NodeFolder(tmp_path / "broken"), gateway=Listening(), own=own)
    broken.on_event = lambda event, interrupt: (
        (interrupt.press(), interrupt.press(), None)[2] if getattr(event, "step", 0) == 2 else None
    )
    assert broken.process() == "asked to stop"
    broken.on_event = lambda event, interrupt: None
    broken.process()
    assert list(broken.gateway.received) == list(whole.gateway.received)
