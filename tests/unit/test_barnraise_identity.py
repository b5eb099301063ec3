"""A key file is made once, for its owner only, and what is no key is refused rather than replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnraise.errors import BadSignatureError, ConfigValueError
from barnraise.identity import Identity, verify_signature


def test_a_key_is_made_on_first_use_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "config" / "identity.key"
    made = Identity.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Identity.load_or_create(path).public == made.public


def test_loading_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Identity.load(tmp_path / "identity.key")
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_others_can_read_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    Identity.load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(ConfigValueError, match=f"chmod 600 {path}"):
        Identity.load_or_create(path)


@pytest.mark.parametrize("content", [b"", b"zz", b"00" * 31, b"\xff" * 64])
def test_what_is_no_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigValueError, match="holds no ed25519 key"):
        Identity.load_or_create(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("key", ["", "zz", "00" * 31, "ff" * 32])
def test_a_malformed_key_signs_nothing(key: str) -> None:
    with pytest.raises(BadSignatureError):
        verify_signature(key, "lease", b"words", "0" * 128)
