"""Ask the pages of a run as a browser does, in this process, and read the HTML that comes back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from coordinator.gateway import GatewayState, create_app
from doorstep import Answer, call_app

__all__ = ["Html", "Pages", "read_html"]

VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    words: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


class Html(HTMLParser):
    """A page as a list of elements; the markup has to be balanced."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        opened = self._open.pop()
        assert opened.tag == tag, f"</{tag}> closes <{opened.tag}>"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.words.append(data)

    def close(self) -> None:
        super().close()
        assert not self._open, f"{self._open[-1].tag} is not closed"

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of a tag with these attributes; ``class_`` is one of its classes."""
        kind = attributes.pop("class_", None)
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        return [
            one
            for one in self.elements
            if one.tag == tag
            and (kind is None or kind in one.attributes.get("class", "").split())
            and all(one.attributes.get(name) == value for name, value in wanted.items())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} of <{tag} {attributes}>"
        return found[0]


def read_html(text: str) -> Html:
    """Parse, strictly."""
    page = Html()
    page.feed(text)
    page.close()
    return page


class Pages:
    """The application of a run, called without a socket."""

    def __init__(self, state: GatewayState) -> None:
        self.state = state
        self.app: Any = create_app(state)

    def get(self, path: str, **headers: str) -> Answer:
        named = {"accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return asyncio.run(call_app(self.app, "GET", path, b"", named))

    def html(self, path: str) -> Html:
        """A page that is there."""
        answer = self.get(path)
        assert answer.status == 200, (path, answer.status, answer.body[:500])
        return read_html(answer.body.decode())
