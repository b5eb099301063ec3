"""The node's folder: one node holds it, names are checked before they are paths, and what was altered is not used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from barnraise.errors import BadNameError, FolderLockedError, StorageError, VerificationError
from contributor.folder import NodeFolder
from contributor.state import NodeState


def test_a_new_folder_has_an_empty_state(tmp_path: Path) -> None:
    assert NodeFolder(tmp_path).load() == NodeState()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"units": 3}', '{"residual": "../../etc/passwd"}'])
def test_an_altered_state_is_not_used(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(VerificationError, match=r"move .* away"):
        NodeFolder(tmp_path).load()


def test_an_altered_residual_is_not_used(tmp_path: Path) -> None:
    folder = NodeFolder(tmp_path)
    digest = folder.store.put(np.ones(5, dtype=np.float32).tobytes())
    folder.store.path(digest).write_bytes(b"\x00" * 20)
    with pytest.raises(VerificationError, match="residual"):
        folder.vector(digest, 5)
    folder.store.path(digest).write_bytes(b"")
    with pytest.raises(VerificationError, match="residual"):
        folder.vector(digest, 5)


def test_two_nodes_of_one_key_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = NodeFolder.of(tmp_path, "tiny", "ab" * 32)
    with folder.lock():
        with pytest.raises(FolderLockedError, match="another node with this key"), folder.lock():
            pass
        with NodeFolder.of(tmp_path, "tiny", "cd" * 32).lock():
            pass
    with folder.lock():
        pass


def test_a_place_where_nothing_can_be_written_is_said_with_the_way_to_another_one(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    folder = NodeFolder.of(tmp_path / "home", "tiny", "ab" * 32)
    with pytest.raises(StorageError, match=r"nothing can be written to .*--home DIR"), folder.lock():
        pass


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", "\x00", "a" * 65])
def test_a_runs_name_is_checked_before_it_becomes_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadNameError):
        NodeFolder.of(tmp_path, name, "ab" * 32)
