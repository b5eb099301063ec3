"""What is agreed to before the first unit: the right text for the data, remembered by what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnraise.data_config import LocalData
from barnraise.errors import NotAgreedError
from contributor.consent import agreed, consent_for, remember, require
from pretend_gateway import PretendGateway

URL = "http://127.0.0.1:8000"
INFO = PretendGateway().info()
LOCAL = INFO.model_copy(update={"data": LocalData(corpus="local", held_out=("texts/*.txt",))})


def test_of_public_data_an_update_tells_nothing() -> None:
    text = consent_for(INFO, URL).text
    assert "which is public" in text
    assert "gradient inversion" not in text


def test_of_own_data_the_text_names_both_dangers_their_sources_and_the_way_out() -> None:
    text = consent_for(LOCAL, URL).text
    for words in ("gradient inversion", "1906.08935", "memorised text", "2012.07805", "Clipping plus noise", URL):
        assert words in text


@pytest.mark.parametrize("info", [INFO, LOCAL])
def test_it_fits_a_terminal(info: object) -> None:
    assert max(map(len, consent_for(info, URL).text.splitlines())) <= 80  # type: ignore[arg-type]


def test_it_is_remembered_by_what_it_says(tmp_path: Path) -> None:
    path, consent = tmp_path / "consent.json", consent_for(INFO, URL)
    assert not agreed(path, consent)
    remember(path, consent, 5)
    assert agreed(path, consent)
    assert not agreed(path, consent_for(LOCAL, URL))
    assert not agreed(path, consent_for(INFO, "http://elsewhere"))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_memory_is_asked_again(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "consent.json"
    path.write_bytes(data)
    assert not agreed(path, consent_for(INFO, URL))


def test_where_nothing_can_be_remembered_nothing_was_agreed_to(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert not agreed(tmp_path / "home" / "consent.json", consent_for(INFO, URL))


def test_without_it_nothing_begins() -> None:
    require(True, consent_for(INFO, URL))
    with pytest.raises(NotAgreedError, match=r"nothing was trained or sent.*--yes"):
        require(False, consent_for(INFO, URL))


def test_who_said_no_is_not_told_to_read_what_was_read() -> None:
    with pytest.raises(NotAgreedError, match=r"^you did not agree to take part in .*asks again"):
        require(False, consent_for(INFO, URL))
    with pytest.raises(NotAgreedError, match=r"^nobody has agreed yet .*Read it in a terminal"):
        require(None, consent_for(INFO, URL))
