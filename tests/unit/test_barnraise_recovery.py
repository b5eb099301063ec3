"""A recovery code survives paper: what is typed is the code, or is refused."""

from __future__ import annotations

import json
import stat
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import BadSignatureError, ConfigValueError, UsageError
from barnraise.identity import Identity
from barnraise.identity_export import opened, sealed
from barnraise.key_messages import RecoveryCard
from barnraise.recovery import ALPHABET, RecoveryCode
from contributor.first_use import card_path, first_use, load_card

SECRETS = st.binary(min_size=18, max_size=18)
ADA = Identity.from_seed(b"a" * 32)


@settings(deadline=None)
@given(SECRETS)
def test_what_was_written_down_is_the_code(secret: bytes) -> None:
    code = RecoveryCode(secret)
    assert RecoveryCode.parse(code.text) == code
    assert RecoveryCode.parse(f" {code.text.lower().replace('-', ' ')}\n") == code
    assert RecoveryCode.parse(code.text.replace("0", "O").replace("1", "l")) == code
    assert secret.hex() not in repr(code)
    assert code.text not in repr(code)


@settings(deadline=None)
@given(SECRETS, st.integers(0, 31), st.sampled_from(ALPHABET))
def test_a_letter_that_is_wrong_is_noticed(secret: bytes, at: int, letter: str) -> None:
    text = RecoveryCode(secret).text.replace("-", "")
    wrong = text[:at] + letter + text[at + 1 :]
    if wrong != text:
        with pytest.raises(UsageError, match="checksum"):
            RecoveryCode.parse(wrong)


@pytest.mark.parametrize(("text", "why"), [("", "32 letters"), ("ABCD-EFGH", "32 letters"), ("U" * 32, "no 'U'")])
def test_what_is_no_code_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        RecoveryCode.parse(text)


def test_two_codes_are_two_keys_and_a_card_is_signed_by_its_own() -> None:
    one, two = RecoveryCode(b"1" * 18), RecoveryCode(b"2" * 18)
    assert one.identity.public != two.identity.public
    card = one.card_for(ADA.public)
    assert (card.key, card.open(RecoveryCard).contributor) == (one.identity.public, ADA.public)
    with pytest.raises(BadSignatureError):
        card.model_copy(update={"key": two.identity.public}).open(RecoveryCard)


def test_the_code_of_a_new_key_is_told_once_and_stored_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "home" / "identity.key"
    first = first_use(path)
    assert first.code is not None
    assert first.card == first.code.card_for(first.identity.public)
    again = first_use(path)
    assert (again.identity.public, again.card, again.code) == (first.identity.public, first.card, None)
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert first.code.text.encode() not in stored
    assert first.code.identity.private_key.private_bytes_raw().hex().encode() not in stored


def test_a_card_of_another_key_or_none_at_all_is_no_card(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    first_use(path)
    assert load_card(path, ADA.public) is None
    card_path(path).write_bytes(b"[")
    assert first_use(path).card is None
    card_path(path).unlink()
    assert first_use(path).card is None


# -- export -----------------------------------------------------------------------------------


def test_an_exported_key_comes_back_with_the_passphrase_alone() -> None:
    card = RecoveryCode(b"1" * 18).card_for(ADA.public)
    data = sealed(ADA, card, "correct horse")
    identity, found = opened(data, "correct horse")
    assert (identity.public, found) == (ADA.public, card)
    assert ADA.private_key.private_bytes_raw().hex().encode() not in data
    assert sealed(ADA, card, "correct horse") != data  # another salt and nonce
    with pytest.raises(ConfigValueError, match="passphrase is wrong"):
        opened(data, "incorrect horse")
    with pytest.raises(UsageError, match="at least 8"):
        sealed(ADA, card, "short")


@cache
def exported() -> bytes:
    """An export to alter: sealing one takes a third of a second on purpose."""
    return sealed(ADA, None, "correct horse")


@pytest.mark.parametrize("field", ["public", "card", "n", "sealed", "format"])
def test_an_altered_export_is_refused(field: str) -> None:
    value = json.loads(exported())
    changed = {"n": 1 << 14, "r": 7, "card": json.loads(RecoveryCode(b"1" * 18).card_for(ADA.public).canonical())}
    old = value[field]
    value[field] = changed.get(field) or ("0" if old[0] != "0" else "1") + old[1:]
    with pytest.raises(ConfigValueError):
        opened(json.dumps(value).encode(), "correct horse")


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 10_000, b"\xff", b'{"n": 1e9}', b" " * 20_000])
def test_what_is_no_export_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigValueError):
        opened(data, "correct horse")


def test_an_export_that_asks_for_much_memory_is_refused_before_any_is_spent() -> None:
    value = json.loads(exported())
    value["n"] = 1 << 30
    with pytest.raises(ConfigValueError, match="no exported key"):
        opened(json.dumps(value).encode(), "correct horse")


def test_a_new_key_and_its_card_are_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    first_use(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
