"""Notifications: each is due until it is settled, none is lost or held up, and nothing goes to an inner address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import stat
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.config import RunConfig, parse_run_config
from barnraise.errors import ConfigValueError, MissingExtraError, StorageError, UnreachableError
from barnraise.narrate import narrate
from barnraise.notify_config import NOTICES, NotifyConfig
from barnraise.sections import parse_section
from coordinator.ledger import Ledger
from coordinator.ledger.events import ContributorSeen, Event, RecordedEvent, ReleaseTagged, RoundMoved, UpdateRejected
from coordinator.ledger.notice_events import NoticesBegun, NoticeSettled
from coordinator.ledger.order_events import (
    ChannelProbed,
    ContributorBanned,
    OrderSettled,
    ReleasePromoted,
    ReleaseYanked,
)
from coordinator.notify import targets as targets_module
from coordinator.notify.addresses import choose_address, is_public
from coordinator.notify.messages import Message, message_of, notice_of, trial_message
from coordinator.notify.notifier import Notifier, taken_up
from coordinator.notify.outbox import GAPS_S, TOO_OLD_MS, Answer, Attempt, Outbox, Rest
from coordinator.notify.secrets import read_secret, write_secret
from coordinator.notify.targets import Target, open_targets
from coordinator.notify.webhook import read_secret_text, sign, signed_headers
from doorstep import toy_config
from fresh_ledger import fresh_ledger

START_MS = 1_700_000_000_000
DIGEST = "b3:" + "1" * 64
YES = Answer(True, "answered 200", 200)
NO = Answer(False, "answered 500", 500)


def banned(number: int) -> ContributorBanned:
    return ContributorBanned(f"{number:064x}", 0, "spam")


def message(seq: int = 1, at_ms: int = START_MS) -> Message:
    return Message(f"msg_{seq:032x}", seq, at_ms, "contributor.banned", "toy", "BANNED", {})


# -- which events, and what is said ----------------------------------------------------------


def test_every_kind_of_notification_has_its_event() -> None:
    tagged = ReleaseTagged("0.1.1", "0.1.0", DIGEST, DIGEST, 1, "patch", "ok", None, None, None, START_MS)
    events: list[Event] = [
        tagged,
        ReleaseYanked("0.1.1", "broken"),
        ReleasePromoted("0.1.1"),
        RoundMoved(1, "rejected", "worse", {}),
        RoundMoved(1, "abandoned", "nobody", {}),
        UpdateRejected(DIGEST, 1, "check", "13% worse"),
        RoundMoved(1, "testing", "cannot be run", {"suite_failures": 1, "retry_at_ms": START_MS}),
        ChannelProbed("nightly", "0.1.1", "0.1.0", False, "worse"),
        banned(1),
        OrderSettled("1", False, "no such release"),
    ]
    assert [notice_of(RecordedEvent(1, START_MS, event)) for event in events] == list(NOTICES)


@pytest.mark.parametrize(
    "event",
    [
        ReleaseYanked("0.1.1", None),
        RoundMoved(1, "testing", "merged", {"suite_failures": 0, "retry_at_ms": None}),
        RoundMoved(1, "testing", "looking", {"suite_failures": 1, "retry_at_ms": None}),
        ChannelProbed("nightly", "0.1.1", "0.1.0", True, "fine"),
        OrderSettled("1", True, "done"),
        NoticeSettled("ops", 1, "msg_1", False, 10, "gone", 1),
        ContributorSeen("a" * 64, "Ada"),
    ],
)
def test_nobody_is_told_of_the_rest(event: Event) -> None:
    assert notice_of(RecordedEvent(1, START_MS, event)) is None


def test_a_message_is_the_same_whenever_it_is_made() -> None:
    recorded = RecordedEvent(7, START_MS, UpdateRejected(DIGEST, 3, "check", "13% worse", {"change": 0.9}))
    first, again = (message_of(recorded, "update.rejected", "toy") for _ in range(2))
    assert first == again
    other = message_of(RecordedEvent(8, START_MS, recorded.event), "update.rejected", "toy")
    assert other.message_id != first.message_id
    value = json.loads(first.body)
    assert (value["type"], value["timestamp"]) == ("update.rejected", "2023-11-14T22:13:20.000Z")
    assert value["data"]["digest"] == DIGEST
    assert value["data"]["line"] == f"round 3: REJECTED {'1' * 10} (check): 13% worse"
    assert "change" not in value["data"]


# -- when: laws of the outbox ------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=12), st.lists(st.sampled_from([YES, NO, Answer(False, "gone", 410)])))
def test_every_message_is_settled_once_and_none_is_tried_after_that(wanted: list[bool], answers: list[Answer]) -> None:
    box, now_ms, settled = Outbox("ops", 0), START_MS, list[NoticeSettled]()
    for seq, one in enumerate(wanted, start=1):
        box = box.saw(seq, message(seq) if one else None)
    given_answers = iter([*answers, *[NO] * 1000])
    while not isinstance(due := box.next(now_ms), Rest) or due.until_ms is not None:
        if isinstance(due, Rest):
            assert due.until_ms is not None
            now_ms = due.until_ms
            continue
        assert due.message.seq not in {event.seq for event in settled}
        assert due.number <= len(GAPS_S) + 1
        box, event = box.answered(due, next(given_answers), now_ms)
        settled += [event] if event is not None else []
    assert sorted(event.seq for event in settled) == [seq for seq, one in enumerate(wanted, start=1) if one]
    if settled:
        assert settled[-1].done_to == len(wanted)
    for before, after in pairwise(settled):
        assert before.done_to <= after.done_to
        assert before.done_to < after.seq or after.done_to >= after.seq


def test_a_message_that_is_refused_holds_up_no_other() -> None:
    box = Outbox("ops", 0).saw(1, message(1)).saw(2, message(2))
    first = box.next(START_MS)
    assert isinstance(first, Attempt)
    assert first.message.seq == 1
    box, _ = box.answered(first, NO, START_MS)
    second = box.next(START_MS)
    assert isinstance(second, Attempt)
    assert second.message.seq == 2
    box, settled = box.answered(second, YES, START_MS)
    assert settled is not None
    assert (settled.seq, settled.done_to) == (2, 0)
    rest = box.next(START_MS)
    assert rest == Rest(START_MS + 5000, "attempt 2 to tell ops of event 1 is due in 5 s: answered 500")


def test_waits_grow_over_three_days_and_end_in_a_dead_letter() -> None:
    box, now_ms = Outbox("ops", 0).saw(1, message()), START_MS
    waits, settled = [], None
    while settled is None:
        due = box.next(now_ms)
        if isinstance(due, Rest):
            assert due.until_ms is not None
            waits.append((due.until_ms - now_ms) // 1000)
            now_ms = due.until_ms
            continue
        box, settled = box.answered(due, NO, now_ms)
    assert waits == list(GAPS_S)
    assert sum(waits) > 3 * 86_400
    assert not settled.delivered
    assert settled.reason == "given up after 10 attempts: answered 500"
    assert narrate(settled.kind, {"target": "ops", "seq": 1, "delivered": False, "reason": "x"}, {}).startswith("NOT")


def test_a_target_may_ask_for_patience_but_not_for_ever() -> None:
    for asked_s, wait_s in ((60.0, 60), (1.0, 5), (1e6, GAPS_S[-1])):
        box = Outbox("ops", 0).saw(1, message())
        box, _ = box.answered(Attempt(message(), 1), Answer(False, "busy", 429, asked_s), START_MS)
        rest = box.next(START_MS)
        assert isinstance(rest, Rest)
        assert rest.until_ms == START_MS + wait_s * 1000


def test_what_is_too_old_is_tried_once() -> None:
    box = Outbox("ops", 0).saw(1, message())
    _, settled = box.answered(Attempt(message(), 1), NO, START_MS + TOO_OLD_MS + 1)
    assert settled is not None
    assert settled.reason.startswith("given up 4.0 days after the event")


# -- restarts ----------------------------------------------------------------------------------


@dataclass
class Told:
    """A target that remembers what it was told, and answers as it is bidden."""

    answers: list[Answer] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def __call__(self, told: Message) -> Answer:
        self.ids.append(told.message_id)
        return self.answers.pop(0) if self.answers else YES


def notifier(ledger: Ledger, told: Told, now_ms: int = START_MS) -> Notifier:
    return Notifier(ledger, "toy", Target("ops", frozenset({"contributor.banned"}), told), lambda: now_ms)


@settings(deadline=None, max_examples=8)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.lists(st.sampled_from([YES, NO]), max_size=3))))
def test_no_event_is_missed_or_settled_twice_over_restarts(
    tmp_path_factory: pytest.TempPathFactory, lives: list[tuple[int, bool, list[Answer]]]
) -> None:
    ledger = fresh_ledger(tmp_path_factory.mktemp("run") / "ledger.sqlite")
    ledger.record(banned(0), at_ms=START_MS)  # of before the target was there
    told, number, now_ms = Told(), 0, START_MS
    taken_up(ledger, "ops", now_ms)
    for arrivals, dies_early, answers in lives:
        for _ in range(arrivals):
            number += 1
            ledger.record(banned(number), ContributorSeen(f"{number:064x}", "x"), at_ms=START_MS)
        told.answers = list(answers)
        now_ms += 1_000_000
        living = notifier(ledger, told, now_ms)
        for _ in range(1 if dies_early else 5):
            living.turn()
    told.answers = []
    last = notifier(ledger, told, now_ms + 10_000_000)
    while last.turn():
        pass
    settled = [
        row.event for row in ledger.events_after(0, 500) if isinstance(row.event, NoticeSettled) and row.event.delivered
    ]
    assert len(settled) == len({event.seq for event in settled}) == number
    assert {event.message_id for event in settled} == set(told.ids)
    ledger.close()


def test_a_new_target_is_told_of_what_comes_and_the_ledger_knows_since_when(tmp_path: Path) -> None:
    ledger = fresh_ledger(tmp_path / "ledger.sqlite")
    ledger.record(banned(1), at_ms=START_MS)
    told = Told()
    notifier(ledger, told).turn()  # ends before anything happened
    assert ledger.events_after(1, 5)[0].event == NoticesBegun("ops", 1)
    ledger.record(banned(2), at_ms=START_MS)
    again = notifier(ledger, told)
    assert again.turn()
    assert not again.turn()
    assert len(told.ids) == 1
    ledger.close()


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",  # the metadata service of most clouds
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        "",
        "no address",
    ],
)
def test_inner_addresses_are_refused(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(UnreachableError, match="not public; nothing was sent"):
        choose_address(["93.184.216.34", address], allow_private=False)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_public_addresses_are_chosen(address: str) -> None:
    assert choose_address([address], allow_private=False) == address


def test_a_name_without_addresses_and_one_that_may_be_inner() -> None:
    with pytest.raises(UnreachableError, match="has no address"):
        choose_address([], allow_private=True)
    assert choose_address(["127.0.0.1"], allow_private=True) == "127.0.0.1"


# -- signatures and secrets ------------------------------------------------------------------------


def test_a_signature_is_what_the_receiver_computes() -> None:
    key = b"k" * 32
    headers = signed_headers(key, message(), 1_614_265_330)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + message().body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert sign(key, "msg_1", 2, b"x") != sign(key, "msg_1", 3, b"x")


@pytest.mark.parametrize("text", ["", "whsec_", "abc", "whsec_!!!", "whsec_" + base64.b64encode(b"short").decode()])
def test_a_secret_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigValueError, match="make one: barnraise notify secret"):
        read_secret_text(text, "notify target ops")


def test_a_secret_that_is_made_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    secret = write_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret("ops", None, str(path), {}) == secret
    assert len(read_secret_text(secret, "x")) == 32
    with pytest.raises(ConfigValueError, match="is there already"):
        write_secret(path)
    path.chmod(0o640)
    with pytest.raises(ConfigValueError, match="mode 0640; others read it"):
        read_secret("ops", None, str(path), {})
    with pytest.raises(ConfigValueError, match="cannot be read"):
        read_secret("ops", None, str(tmp_path / "missing"), {})
    with pytest.raises(ConfigValueError, match="the environment has no HOOK"):
        read_secret("ops", "HOOK", None, {})


# -- configuration ---------------------------------------------------------------------------------


def with_notify(**notify: Any) -> RunConfig:
    value = toy_config().model_dump(mode="json", exclude_none=True)
    return parse_run_config(value | {"notify": notify}, source="toy")


HOOK = {"name": "ops", "url": "https://hooks.example/x", "secret_env": "HOOK"}


def test_who_is_told_is_written_down_for_nobody() -> None:
    config = with_notify(webhooks=[HOOK])
    assert "notify" not in config.model_dump(mode="json")
    assert config.digest == toy_config().digest
    assert "hooks.example" not in repr(config)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "http://hooks.example"}, "url must begin with https://"),
        ({"url": "file:///etc/passwd"}, "url must begin with"),
        ({"url": "https://user:word@hooks.example"}, "neither a user nor a fragment"),
        ({"url": "https://"}, "name a host"),
        ({"secret_file": "/secret"}, "one of secret_env and secret_file"),
        ({"secret_env": None, "secret_file": "secret"}, "a whole path"),
        ({"events": []}, "at least 1"),
        ({"events": ["release.made"]}, "release.tagged"),
        ({"name": "Ops!"}, "pattern"),
    ],
)
def test_a_webhook_that_cannot_work_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigValueError, match=words):
        with_notify(webhooks=[{**HOOK, **change}])


def test_two_targets_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigValueError, match="two targets are called 'ops'"):
        with_notify(webhooks=[HOOK], apprise=[{"name": "ops", "url_env": "CHAT"}])


# -- apprise ---------------------------------------------------------------------------------------


CHAT = {"apprise": [{"name": "chat", "url_env": "CHAT"}]}


def test_apprise_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'barnraise\[notify\]'"):
        open_targets(parse_section(NotifyConfig, CHAT, source="toy"), {"CHAT": "json://x"})


def test_apprise_is_asked_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str, str]] = []

    class Service:
        url = ""

        def add(self, url: str) -> bool:
            self.url = url
            return not url.startswith("nonsense")

        def notify(self, title: str, body: str) -> bool:
            told.append((self.url, title, body))
            return True

    module = ModuleType("apprise")
    module.Apprise = Service  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apprise", module)
    monkeypatch.setattr(targets_module.importlib.util, "find_spec", lambda _name: object())
    config = parse_section(NotifyConfig, CHAT, source="toy")
    (target,) = open_targets(config, {"CHAT": "json://x"})
    assert target.send(trial_message("toy", START_MS, "0" * 32)) == Answer(True, "told")
    assert told == [("json://x", "toy: notify.test", "a test notification of run toy; nothing has happened")]
    (target,) = open_targets(config, {"CHAT": "nonsense://x"})
    assert not target.send(trial_message("toy", START_MS, "0" * 32)).delivered


def test_what_the_ledger_could_not_be_told_it_is_told_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = fresh_ledger(tmp_path / "ledger.sqlite")
    told = Told()
    living = notifier(ledger, told)
    living.turn()
    ledger.record(banned(1), at_ms=START_MS)
    with monkeypatch.context() as locked:
        locked.setattr(ledger, "record", refuse)
        with pytest.raises(StorageError):
            living.turn()
        with pytest.raises(StorageError):
            living.turn()
    assert not living.turn()
    settled = [row.event for row in ledger.events_after(0) if isinstance(row.event, NoticeSettled)]
    assert [event.seq for event in settled] == [2]
    assert len(told.ids) == 1  # and it was not told twice
    ledger.close()


def refuse(*_: object, **__: object) -> None:
    raise StorageError("the ledger cannot be used: database is locked")
