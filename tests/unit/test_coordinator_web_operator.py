"""Operating a run from a browser: who may, from which page, what is asked before, and what is written down."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnraise.errors import ConfigValueError, OrderRefusedError, UsageError
from barnraise.run_folder import RunFolder
from coordinator.ledger.order_events import OrderSettled
from coordinator.orders.kinds import order_of
from coordinator.web.operator.asking import ACTIONS, Action, order_from, outlook_of
from coordinator.web.operator.audit import audit_log
from coordinator.web.operator.same_origin import foreign_origin
from coordinator.web.operator.sessions import GUESSES, HOLDS_MS, IDLE_MS, Refused, Session, Sessions
from coordinator.web.operator.token import make_token, read_token, token_path
from doorstep import Answer, call_app
from seeded_run import SeededRun, seeded_run
from web_pages import Html, Pages, read_html

OURS = {"sec-fetch-site": "same-origin"}


# -- the token -----------------------------------------------------------------------------------------


def test_the_token_is_made_once_for_its_owner_only_and_can_be_another(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert read_token(folder) is None
    token = make_token(folder)
    assert len(token) >= 43
    assert token == make_token(folder) == read_token(folder)
    assert token_path(folder).stat().st_mode & 0o777 == 0o600
    assert make_token(folder, again=True) != token


def test_a_token_that_others_can_read_is_no_secret(tmp_path: Path) -> None:
    make_token(RunFolder(tmp_path))
    token_path(RunFolder(tmp_path)).chmod(0o644)
    with pytest.raises(ConfigValueError, match=r"0644.*--rotate"):
        read_token(RunFolder(tmp_path))


# -- sessions -------------------------------------------------------------------------------------------


class Desk:
    """Sessions with a clock and a token that the test moves."""

    def __init__(self) -> None:
        self.now_ms, self.token, self.drawn = 1_000_000, "the token", iter(range(1000))
        self.sessions = Sessions(lambda: self.token, lambda: self.now_ms, lambda: f"secret-{next(self.drawn)}")

    def sign_in(self) -> str:
        found = self.sessions.sign_in(self.token)
        assert not isinstance(found, Refused)
        return found[0]

    def why(self, secret: str | None) -> str:
        found = self.sessions.of(secret)
        return found.reason if isinstance(found, Refused) else ""


def test_a_session_begins_with_the_token_and_nothing_else() -> None:
    desk = Desk()
    assert isinstance(desk.sessions.sign_in("another"), Refused)
    secret = desk.sign_in()
    found = desk.sessions.of(secret)
    assert isinstance(found, Session)
    assert secret not in repr(desk.sessions._open)  # what is kept cannot be used by who reads it
    assert desk.why(None) == "you are not signed in"
    assert "not known here" in desk.why("made up")


@pytest.mark.parametrize(("waits_ms", "says"), [(IDLE_MS, "60 minutes"), (HOLDS_MS, "12 hours")])
def test_a_session_ends_by_itself(waits_ms: int, says: str) -> None:
    desk = Desk()
    secret = desk.sign_in()
    end_ms = desk.now_ms + waits_ms
    while desk.now_ms + IDLE_MS // 2 < end_ms and waits_ms == HOLDS_MS:
        desk.now_ms += IDLE_MS // 2
        assert desk.why(secret) == ""
    desk.now_ms = end_ms
    assert says in desk.why(secret)
    assert "not known" in desk.why(secret)


def test_another_token_and_signing_out_end_sessions() -> None:
    desk = Desk()
    first, second = desk.sign_in(), desk.sign_in()
    found = desk.sessions.of(first)
    assert isinstance(found, Session)
    desk.sessions.sign_out(found)
    assert "not known" in desk.why(first)
    assert desk.why(second) == ""
    desk.token = "another one"
    assert "another token" in desk.why(second)


def test_guessing_is_slow() -> None:
    desk = Desk()
    for _ in range(GUESSES):
        found = desk.sessions.sign_in("guess")
        assert isinstance(found, Refused)
        assert found.retry_after_s is None
    right = desk.sessions.sign_in(desk.token)
    assert isinstance(right, Refused)
    assert right.retry_after_s == 60
    desk.now_ms += 60_000
    desk.sign_in()


# -- where a request comes from -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "http://run.example:8000"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "null"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://run.example:8000"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://run.example:8000"}, True),
        ({"origin": "http://run.example"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "http://evil.example"}, False),
        ({"referer": "http://run.example:8000/operator"}, True),
        ({"referer": "http://evil.example/?http://run.example:8000"}, False),
        ({}, False),
    ],
)
def test_only_our_own_pages_change_anything(headers: dict[str, str], ours: bool) -> None:
    assert (foreign_origin(headers, {"run.example:8000"}) == "") is ours


@given(origin=st.text(max_size=40))
def test_no_origin_whatever_is_taken_for_ours(origin: str) -> None:
    if "run.example:8000" not in origin.lower():
        assert foreign_origin({"origin": origin}, {"run.example:8000"})


# -- the pages -----------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Iterator[SeededRun]:
    made = seeded_run(tmp_path / "run")
    yield made
    made.ledger.close()


class Browser:
    """Somebody at the pages of a run, who keeps the cookie."""

    def __init__(self, run: SeededRun, public_url: str | None = None) -> None:
        state = run.state()
        gateway = state.config.gateway.model_copy(update={"public_url": public_url})
        self.run = run
        self.pages = Pages(replace(state, config=state.config.model_copy(update={"gateway": gateway})))
        self.token = make_token(run.folder)
        self.cookie = ""

    def get(self, path: str) -> Answer:
        return self.pages.get(path, **({"cookie": self.cookie} if self.cookie else {}))

    def html(self, path: str) -> Html:
        return read_html(self.get(path).body.decode())

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Answer:
        named = {"accept": "text/html", "content-type": "application/x-www-form-urlencoded", "cookie": self.cookie}
        named |= OURS if headers is None else headers
        answer = asyncio.run(call_app(self.pages.app, "POST", path, urlencode(fields).encode(), named))
        if "set-cookie" in answer.headers:
            self.cookie = answer.headers["set-cookie"].split(";")[0]
        return answer

    def sign_in(self) -> str:
        """The form token of a new session."""
        assert self.post("/operator/sign-in", token=self.token).status == 303
        return self.html("/operator").all("input", name="form")[0].attributes["value"]


@pytest.fixture
def browser(run: SeededRun) -> Browser:
    return Browser(run)


def test_signing_in_takes_the_token_and_gives_a_careful_cookie(browser: Browser) -> None:
    page = browser.html("/operator")
    assert page.one("form").attributes["action"] == "/operator/sign-in"
    wrong = browser.post("/operator/sign-in", token="guess")
    assert wrong.status == 403
    assert "barnraise operator token" in wrong.body.decode()
    right = browser.post("/operator/sign-in", token=browser.token)
    assert right.headers["location"] == "/operator"
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie  # plain http on this machine; behind TLS it is
    page = browser.html("/operator")
    assert {one.attributes["value"] for one in page.all("input", name="action")} == {one.name for one in ACTIONS}
    assert browser.get("/operator").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("public_url", "secure"), [("https://models.example", True), ("http://models.lan", False)])
def test_the_cookie_is_secure_where_the_run_says_that_it_is_reached_over_tls(
    run: SeededRun, public_url: str, secure: bool
) -> None:
    browser = Browser(run, public_url)
    signed_in = browser.post("/operator/sign-in", token=browser.token)
    assert ("secure" in signed_in.headers["set-cookie"].lower()) == secure
    form = browser.html("/operator").all("input", name="form")[0].attributes["value"]
    signed_out = browser.post("/operator/sign-out", form=form)
    assert ("secure" in signed_out.headers["set-cookie"].lower()) == secure


def test_a_header_that_anybody_can_send_does_not_say_how_the_run_is_reached(browser: Browser) -> None:
    answer = browser.post("/operator/sign-in", OURS | {"x-forwarded-proto": "https"}, token=browser.token)
    assert answer.status == 303
    assert "secure" not in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("path", ["/operator/sign-in", "/operator/sign-out", "/operator/confirm", "/operator/order"])
def test_a_post_from_elsewhere_changes_nothing(browser: Browser, path: str) -> None:
    form = browser.sign_in()
    before = browser.run.ledger.last_seq()
    answer = browser.post(
        path,
        {"sec-fetch-site": "cross-site"},
        form=form,
        token=browser.token,
        action="yank",
        version="0.2.3",
        reason="x",
    )
    assert answer.status == 403
    assert "Nothing was changed" in answer.body.decode()
    assert browser.run.ledger.last_seq() == before


@pytest.mark.parametrize("path", ["/operator/sign-out", "/operator/confirm", "/operator/order"])
def test_without_a_session_or_its_form_nothing_is_done(browser: Browser, path: str) -> None:
    fields = {"action": "yank", "version": "0.2.3", "reason": "it repeats itself"}
    assert browser.post(path, form="", **fields).status == 401
    browser.sign_in()
    before = browser.run.ledger.last_seq()
    answer = browser.post(path, form="of another session", **fields)
    assert answer.status == 403
    assert "not of this session" in answer.body.decode()
    assert browser.run.ledger.last_seq() == before


def test_an_order_is_shown_first_then_given_then_in_the_log(browser: Browser) -> None:
    form, ledger = browser.sign_in(), browser.run.ledger
    fields = {"form": form, "action": "yank", "version": "0.2.3", "reason": "it repeats itself"}
    before = ledger.last_seq()
    shown = read_html(browser.post("/operator/confirm", **fields).body.decode())
    assert "0.2.3" in shown.one("main").text
    assert ledger.last_seq() == before
    again = {one.attributes["name"]: one.attributes["value"] for one in shown.all("input", type="hidden")}
    answer = browser.post("/operator/order", **again)
    assert (answer.status, answer.headers["location"]) == (303, "/operator/audit")
    (order,) = ledger.orders(waiting=True)
    assert order_of(order.order) == order_from("yank", fields, ledger, browser.run.state().config.acceptance)
    assert "yank 0.2.3: it repeats itself" in browser.html("/operator/audit").one("main").text
    first = audit_log(ledger)[0]
    assert (first.outcome, first.place) == ("waiting", "this machine")
    assert re.fullmatch("[0-9a-f]{8}", first.who)
    ledger.record(OrderSettled(order.order_id, True, "0.2.3 is yanked"), at_ms=1)
    assert (audit_log(ledger)[0].outcome, audit_log(ledger)[0].reason) == ("done", "0.2.3 is yanked")


def test_what_cannot_be_done_is_said_before_it_is_ordered(browser: Browser) -> None:
    form = browser.sign_in()
    for fields, says in (
        ({"action": "yank", "version": "9.9.9", "reason": "x"}, "9.9.9"),
        ({"action": "yank", "version": "0.2.3", "reason": " "}, "reason is missing"),
        ({"action": "rollback", "channel": "beta", "version": "0.2.3", "reason": "x"}, "no channel beta"),
        ({"action": "make-coffee", "reason": "x"}, "no action"),
        ({"action": "revoke", "contributor": "abcdef", "since": "yesterday", "reason": "x"}, "no date"),
        ({"action": "accept-regression", "test": "nothing", "reason": "x"}, "no test"),
    ):
        answer = browser.post("/operator/confirm", form=form, **fields)
        assert answer.status == 400
        assert says.lower() in read_html(answer.body.decode()).one("main").text.lower()
    assert browser.run.ledger.orders(waiting=True) == []


def test_what_is_typed_is_escaped(browser: Browser) -> None:
    form = browser.sign_in()
    sly = '<script>alert(1)</script>"'
    answer = browser.post("/operator/confirm", form=form, action="yank", version="0.2.3", reason=sly)
    assert "<script>alert" not in answer.body.decode()
    shown = read_html(answer.body.decode())
    assert {one.attributes["value"] for one in shown.all("input", name="reason")} == {sly}


def test_links_fill_in_what_they_are_about_also_through_signing_in(browser: Browser) -> None:
    page = browser.html("/operator?version=0.2.3&next=//evil.example")
    wanted = page.one("input", name="next").attributes["value"]
    answer = browser.post("/operator/sign-in", token=browser.token, next=wanted)
    assert answer.headers["location"] == "/operator?version=0.2.3"
    page = browser.html(answer.headers["location"])
    assert page.one("input", id="yank-version").attributes["value"] == "0.2.3"
    assert page.one("input", id="revert-update").attributes["value"] == ""


@pytest.mark.parametrize(
    "place", ["//evil.example", "https://evil.example/operator", "/operator/../x", "javascript:alert(1)"]
)
def test_signing_in_leads_nowhere_else(browser: Browser, place: str) -> None:
    assert browser.post("/operator/sign-in", token=browser.token, next=place).headers["location"] == "/operator"


def test_signing_out_ends_the_session(browser: Browser) -> None:
    form = browser.sign_in()
    kept = browser.cookie
    assert browser.post("/operator/sign-out", form=form).status == 303
    browser.cookie = kept
    answer = browser.get("/operator")
    assert answer.status == 401
    assert "not known here" in answer.body.decode()


def test_a_form_is_bounded(browser: Browser) -> None:
    assert browser.post("/operator/sign-in", token="x" * 70_000).status == 413
    many = {f"field-{number}": "x" for number in range(40)}
    assert browser.post("/operator/sign-in", **many).status == 400


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_every_action_becomes_an_order_with_an_outlook(browser: Browser, action: Action) -> None:
    ledger, suite = browser.run.ledger, browser.run.state().config.acceptance
    name = action.name
    merged = ledger.updates(state="merged")[0]
    fields = {
        "reason": "why not", "version": "0.2.3", "channel": "nightly", "update": merged.digest,
        "contributor": browser.run.key_of("ada"), "since": "2020-01-01", "test": "loss-text",
    }  # fmt: skip
    if name == "accept-regression":  # no candidate has failed against the newest release here
        with pytest.raises(OrderRefusedError):
            order_from(name, fields, ledger, suite)
        return
    order = order_from(name, fields, ledger, suite)
    assert outlook_of(order, ledger).says
    assert outlook_of(order, ledger).computes == (name in {"revert", "revoke"})
    with pytest.raises(UsageError, match="reason is missing"):
        order_from(name, fields | {"reason": ""}, ledger, suite)
