"""Text from strangers on a page: bounded, visible, and never more than text."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from coordinator.web.names import NAME_SHOWN, TEXT_SHOWN, finalize, fit, shown_name
from hostile_names import HOSTILE


@given(st.text())
def test_plain_text_stays_and_what_hides_goes(text: str) -> None:
    fitted = fit(text)
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"} or char in "\n\t" for char in fitted)
    if text.isascii() and text.isprintable():
        assert fitted == text
    assert fit(fitted) == fitted


@given(st.text(alphabet=st.characters(categories=["L", "Mn", "Nd"]), max_size=300), st.integers(1, 200))
def test_no_more_than_was_allowed_is_shown(text: str, most: int) -> None:
    fitted = fit(text, most)
    assert len(fitted) <= most + 1
    assert (len(text) <= most) or fitted.endswith("\N{HORIZONTAL ELLIPSIS}")


def test_marks_do_not_climb() -> None:
    assert fit("a" + "\u0301" * 50) == "a\u0301\u0301"
    assert fit("\u05d0\u05d1 \u0623") == "\u05d0\u05d1 \u0623"  # an honest alphabet is left alone


def test_every_name_shows_something_on_one_line() -> None:
    for name in HOSTILE:
        shown = shown_name(name)
        assert shown.strip(), repr(name[:40])
        assert len(shown) <= NAME_SHOWN + 1
        assert "\n" not in shown
        assert "\x00" not in shown
    assert shown_name("\u200b") == "(no name)"


def test_only_plain_text_is_changed_on_its_way_into_a_template() -> None:
    assert finalize(Markup("<b>\u202e</b>")) == "<b>\u202e</b>"
    assert finalize(7) == 7
    assert len(finalize("x" * 10_000)) == TEXT_SHOWN + 1
