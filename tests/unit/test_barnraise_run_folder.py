"""One coordinator a folder, and no folder taken for a run that is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from barnraise.errors import FolderLockedError, NotARunFolderError
from barnraise.run_folder import RunFolder


def test_a_second_coordinator_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.lock("coordinator"):
        refused = pytest.raises(FolderLockedError, match="another coordinator already works in")
        with refused as caught, folder.lock("coordinator"):
            raise AssertionError("two coordinators in one folder")
        assert f"process {os.getpid()}" in caught.value.reason
        assert caught.value.exit_code == 7
    with folder.lock("coordinator"):
        pass


def test_a_folder_without_a_run_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(NotARunFolderError, match="barnraise serve CONFIG"):
        RunFolder(tmp_path).require()
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_sees_what_is_private(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create()
    owned = (folder.private, folder.keys, folder.offline.parent)
    assert [path.stat().st_mode & 0o777 for path in owned] == [0o700] * 3


@pytest.mark.parametrize(
    ("written", "url"),
    [(None, None), (b"", None), (b"{}", None), (b'{"url": "http://127.0.0.1:1", "pid": 1}', "http://127.0.0.1:1")],
)
def test_where_the_gateway_listens_is_known_while_it_does(
    tmp_path: Path, written: bytes | None, url: str | None
) -> None:
    folder = RunFolder(tmp_path)
    if written is not None:
        folder.address.write_bytes(written)
    assert folder.listening() == url
