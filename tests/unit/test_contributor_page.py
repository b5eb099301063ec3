"""The owner's page without a server: who is answered, what it shows, and that nothing in it is markup."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contributor.events import Fate, Joined, Leased, Notice, Resting, Step, Waiting
from contributor.history import UnitLine
from contributor.page.curve import curve_svg
from contributor.page.guard import Gate
from contributor.page.render import Shown, page_html, refusal_html
from contributor.page.server import HEADERS
from contributor.page.style import STYLE, STYLE_HASH
from contributor.status import NodeStatus

GATE = Gate(4321, "the-token", "the-form-token")
HOME = {"host": "127.0.0.1:4321"}


def posted(**fields: str) -> bytes:
    return urlencode(fields).encode()


def decide(method: str = "GET", path: str = GATE.path, body: bytes = b"", **headers: str) -> Any:
    return GATE.decide(method, path, HOME | {k.replace("_", "-"): v for k, v in headers.items()}, body)


def test_who_knows_the_address_is_answered() -> None:
    assert decide().status == 200
    assert decide("HEAD").status == 200
    assert decide(host="localhost:4321").status == 200


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1", "127.0.0.1:4322", "evil.example:4321", "[::1]:4321"])
def test_another_name_for_this_machine_is_not(host: str) -> None:
    assert decide(host=host).status == 421
    assert decide("POST", body=posted(token="the-form-token", action="pause"), host=host).action == ""


@pytest.mark.parametrize("path", ["/", "", "/the-token", "/the-token/x", "/THE-TOKEN/", "/the-form-token/", "/\xff/"])
def test_without_the_token_there_is_nothing(path: str) -> None:
    assert decide(path=path).status == 404


@pytest.mark.parametrize("action", ["pause", "resume", "finish"])
def test_a_button_with_its_token_is_carried_out(action: str) -> None:
    found = decide("POST", body=posted(token="the-form-token", action=action), origin="http://127.0.0.1:4321")
    assert (found.status, found.action) == (303, action)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (posted(action="pause"), {}),
        (posted(token="the-token", action="pause"), {}),
        (posted(token="the-form-token", action="leave"), {}),
        (posted(token="the-form-token"), {}),
        (posted(token="the-form-token", action="pause"), {"origin": "http://evil.example"}),
        (posted(token="the-form-token", action="pause"), {"sec_fetch_site": "cross-site"}),
        (b"x" * 2000, {}),
        (b"\xff&&&&&&", {}),
    ],
)
def test_what_does_not_come_from_the_form_changes_nothing(body: bytes, headers: dict[str, str]) -> None:
    found = decide("POST", body=body, **headers)
    assert found.action == ""
    assert found.status >= 400
    assert found.reason


def test_tokens_are_drawn_anew_and_not_shown() -> None:
    one, other = Gate(1), Gate(1)
    assert one.token != other.token != other.form_token
    assert one.token not in repr(one)


# -- what it shows ------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The tags of a page, and whether each is closed."""

    VOID = frozenset({"meta", "input", "line", "polyline", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)  # of SVG

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(page: str) -> set[str]:
    found = Tags()
    found.feed(page)
    assert found.open == []
    return found.seen


def shown(*events: Any, units: tuple[UnitLine, ...] = ()) -> str:
    status = NodeStatus(pid=7, started_at_ms=0)
    for at_ms, event in enumerate(events, start=1):
        status = status.after(event, at_ms)
    return page_html(Shown(status, units, 60_000, "the-form-token"))


UNIT = UnitLine("b3:" + "ab" * 32, 5, 3, "0.1.2", "text", 20, 640, 9.0, 4.0, 3.0, 50, "merged", "in 0.1.3", "0.1.3")
JOINED = Joined("tiny", "http://h", "ada", "cd" * 32, "/home/ada/node")


def test_it_says_what_the_node_does_and_why_it_waits() -> None:
    page = shown(JOINED, Leased("0", 3, "0.1.2", "text", 20), Step(1, 20, 4.0), Step(2, 20, 3.5), units=(UNIT,))
    for words in ("ada", "tiny", "step 2 of 20", "3.500", "0.1.3", "abababab", "Pause", "Finish", "<svg"):
        assert words in page
    assert "your update is in" in shown(JOINED, Waiting("your update is in; waiting for others"))
    assert "paused by its owner" in shown(JOINED, Resting("paused by its owner"))


def test_it_needs_no_script_and_loads_nothing() -> None:
    page = shown(JOINED, Step(1, 20, 4.0), Step(2, 20, 3.5), units=(UNIT,))
    assert tags(page) & {"script", "img", "link", "iframe", "object"} == set()
    assert "http-equiv" in page
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
    assert STYLE_HASH in HEADERS["Content-Security-Policy"]
    assert f"<style>{STYLE}</style>" in page


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=80) | st.sampled_from(['"><script>x</script>', "</style><b>", "'onload='x", "&lt;"]))
def test_foreign_text_is_never_markup(text: str) -> None:
    page = shown(
        Joined(text, text, text, text, text),
        Leased("0", 3, text, text, 20),
        Step(1, 20, 4.0),
        Notice(text),
        Waiting(text),
        Fate("b3:" + "ab" * 32, "merged", text, text),
        units=(UnitLine("b3:" + text, 5, 3, text, text, 20, 640, 9.0, 4.0, 3.0, 50, text, text, text),),
    )
    expected = {"html", "head", "meta", "title", "style", "body", "header", "h1", "span", "p", "main", "section", "b"}
    more = {"progress", "form", "input", "button", "h2", "dl", "dt", "dd", "ul", "li", "time", "div", "table", "thead"}
    assert tags(page) <= expected | more | {"tr", "th", "td", "tbody", "code", "footer"}
    assert tags(refusal_html(text)) <= expected


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=600), st.sampled_from([1, 2, 64]))
def test_a_curve_stays_inside_its_drawing(losses: list[float], stride: int) -> None:
    drawn = curve_svg(losses, stride, "bits per byte")
    if len(losses) < 2:
        assert drawn == ""
        return
    points = drawn.split('points="')[1].split('"')[0].split()
    assert len(points) == len(losses)
    for point in points:
        x, y = map(float, point.split(","))
        assert 0 <= x <= 720
        assert 0 <= y <= 220
