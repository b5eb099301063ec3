"""Commands to a node without a socket: what is asked, what is answered, where, and which node is meant."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import NodeError, NoNodeError, UsageError
from contributor.control.address import PATH_MAX_BYTES, private_folder, socket_path
from contributor.control.asking import ask, holder
from contributor.control.commands import commands_of
from contributor.control.finding import FoundNode, choose, known_nodes
from contributor.control.lines import ASKED_MAX_BYTES, answer_line, asked_line, result_of
from contributor.control.peer import is_owner
from contributor.events import Step
from contributor.folder import NodeFolder
from contributor.interrupt import Interrupt
from contributor.status import NodeStatus, Watch


def node() -> tuple[Interrupt, Watch, dict[str, Any]]:
    interrupt, watch = Interrupt(lambda _seconds: None), Watch(NodeStatus(pid=1, started_at_ms=0))
    return interrupt, watch, commands_of(interrupt, watch)  # type: ignore[return-value]


def test_each_command_sets_its_flag_and_says_so() -> None:
    interrupt, watch, commands = node()
    watch.tell(Step(4, 20, 3.0), 1)
    paused = result_of(answer_line(asked_line("pause"), commands))
    assert interrupt.paused
    assert "after step 5 of 20" in paused["said"]
    assert paused["status"]["asked"] == "pause"
    assert result_of(answer_line(asked_line("resume"), commands))["said"] == "goes on"
    assert not interrupt.paused
    assert "finishes the unit" in result_of(answer_line(asked_line("finish"), commands))["said"]
    assert (interrupt.finish, interrupt.stop) == (True, False)
    result_of(answer_line(asked_line("leave"), commands))
    assert (interrupt.leave, interrupt.stop) == (True, True)
    assert watch.status.asked == "leave"


def test_finishing_ends_a_pause_and_nobody_pauses_what_is_about_to_stop() -> None:
    interrupt, _, commands = node()
    commands["pause"]()
    commands["finish"]()
    assert not interrupt.paused
    assert "about to stop" in commands["pause"]()["said"]
    assert not interrupt.paused


@settings(deadline=None)
@given(st.binary(max_size=200) | st.just(b"x" * (ASKED_MAX_BYTES + 1)) | st.just(b"[" * 4000))
def test_no_line_raises_or_changes_anything(line: bytes) -> None:
    interrupt, _, commands = node()
    value = json.loads(answer_line(line, commands))
    assert value["ok"] is False
    assert value["error"]["code"] == "usage"
    assert not interrupt.paused
    assert not interrupt.finish


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_an_answer_that_is_none_is_refused_in_words(line: bytes) -> None:
    with pytest.raises(UsageError):
        result_of(line)


def test_the_socket_of_a_deep_folder_is_elsewhere_and_always_the_same() -> None:
    near = socket_path(Path("/home/ada/node"))
    assert near == Path("/home/ada/node/control/socket")
    deep = Path("/home/ada") / ("x" * 60) / ("y" * 60)
    far = socket_path(deep, {"XDG_RUNTIME_DIR": "/run/user/7"})
    assert far.parent == Path(f"/run/user/7/barnraise-{os.geteuid()}")
    assert far == socket_path(deep, {"XDG_RUNTIME_DIR": "/run/user/7"})
    assert far != socket_path(deep / "z", {"XDG_RUNTIME_DIR": "/run/user/7"})
    assert len(os.fsencode(far)) <= PATH_MAX_BYTES


def test_its_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "control"
    folder.mkdir(mode=0o755)
    assert private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(folder)
    assert not private_folder(tmp_path / "link")


def test_who_else_is_not_answered() -> None:
    assert is_owner(os.geteuid())
    assert not is_owner(os.geteuid() + 1)
    assert not is_owner(None)


# -- which node ------------------------------------------------------------------------------------


def folder_of(home: Path, run: str, key: str) -> NodeFolder:
    folder = NodeFolder.of(home, run, key * 8)
    folder.root.mkdir(parents=True)
    folder.url.write_text("http://h:1\n")
    return folder


def test_one_node_needs_no_option(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "tiny", "0123abcd")
    (found,) = known_nodes(tmp_path)
    assert (found.folder, found.run, found.key, found.url, found.process) == (
        folder.root, "tiny", "0123abcd", "http://h:1", None,
    )  # fmt: skip
    assert choose([found], tmp_path, None, None) == found
    assert choose([found], tmp_path, "tiny", "0123abcd" * 8) == found


def test_of_several_the_one_that_runs_is_meant(tmp_path: Path) -> None:
    folder_of(tmp_path, "tiny", "0123abcd")
    other = folder_of(tmp_path, "huge", "0123abcd")
    with other.lock():
        assert choose(known_nodes(tmp_path), tmp_path, None, None).run == "huge"
        assert choose(known_nodes(tmp_path), tmp_path, "tiny", None).process is None
    with pytest.raises(UsageError, match=r"2 nodes.*which one\? --run huge --key 0123abcd  not running"):
        choose(known_nodes(tmp_path), tmp_path, None, None)


def test_none_and_no_such_node_are_said_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(NoNodeError, match=r"no node was ever here.*barnraise join URL"):
        choose([], tmp_path, None, None)
    there = FoundNode(tmp_path, "tiny", "0123abcd", "", None)
    with pytest.raises(NoNodeError, match=r"no node with --run huge.*there are: --run tiny"):
        choose([there], tmp_path, "huge", None)


def test_a_node_that_does_not_run_or_does_not_answer_is_told_apart(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "tiny", "0123abcd")
    with pytest.raises(NoNodeError, match=r"no node runs in .*barnraise join http://h:1"):
        ask(folder.root, "pause")
    with folder.lock():
        assert holder(folder.root) == str(os.getpid())
        with pytest.raises(NodeError, match=r"does not answer.*kill -TERM"):
            ask(folder.root, "pause")
