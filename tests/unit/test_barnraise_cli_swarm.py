"""What join is told of the swarm, and what status and ``barnraise swarm`` tell of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, cast

import pytest

from barnraise.cli.swarm import _words
from barnraise.cli.swarm_options import SwarmAsked
from barnraise.clock import now_ms
from barnraise.errors import MissingExtraError, UsageError
from barnraise.swarm.process import Sidecar, SidecarState
from contributor.consent import consent_for
from contributor.status import NodeStatus
from contributor.swarm.choice import SwarmChoice, listen_at
from contributor.swarm.status import SwarmStatus, SwarmTally
from pretend_gateway import PretendGateway

PEER = "/ip4/203.0.113.5/tcp/4001/p2p/12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        (SwarmAsked(), ()),
        (SwarmAsked(swarm=True), ("discovery", "blobs")),
        (SwarmAsked(swarm=True, no_discovery=True), ("blobs",)),
        (SwarmAsked(swarm=True, no_peers=True), ("discovery",)),
        (SwarmAsked(swarm=True, listen=("/ip4/0.0.0.0/tcp/4001",), peers=(PEER,)), ("discovery", "blobs")),
    ],
)
def test_each_of_the_three_can_be_left_out_alone(asked: SwarmAsked, parts: tuple[str, ...]) -> None:
    assert asked.choice().parts == parts


def test_a_team_is_a_name_and_a_key_and_needs_no_swarm(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("")
    chosen = SwarmAsked(team="owls", team_key=key).choice()
    assert chosen.parts == ("team",)
    assert not chosen.open_swarm


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (SwarmAsked(no_peers=True), "--no-peers would be ignored without --swarm"),
        (SwarmAsked(no_discovery=True), "--no-discovery would be ignored without --swarm"),
        (SwarmAsked(peers=(PEER,)), "--swarm-peer would be ignored without --swarm or --team"),
        (SwarmAsked(listen=("/ip4/0.0.0.0/tcp/1",)), "--swarm-listen would be ignored"),
        (SwarmAsked(swarm=True, no_peers=True, no_discovery=True), "leave nothing of --swarm"),
        (SwarmAsked(team="owls"), "--team needs --team-key FILE"),
        (SwarmAsked(team_key=Path("key")), "--team-key needs --team NAME"),
        (SwarmAsked(swarm=True, team_wait_s=0.0), "--team-wait would be ignored without --team"),
        (SwarmAsked(team="Night Owls", team_key=Path("key")), "lower-case letters"),
        (SwarmAsked(team="owls", team_key=Path("nowhere")), "there is no such file"),
        (SwarmAsked(swarm=True, listen=("127.0.0.1:80",)), "--swarm-listen: '127.0.0.1:80' is no multiaddress"),
        (SwarmAsked(swarm=True, peers=("/ip4/1.2.3.4/tcp/1",)), "--swarm-peer: .* no multiaddress of a peer"),
        (SwarmAsked(swarm=True, peers=(PEER,) * 17), "given 17 times, 16 are enough"),
    ],
)
def test_what_would_be_ignored_or_is_wrong_is_refused(asked: SwarmAsked, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        asked.choice()


def test_without_hivemind_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "hivemind" else found(name))
    assert SwarmAsked().choice() == SwarmChoice()
    with pytest.raises(MissingExtraError, match=r"needs hivemind.*pip install 'barnraise\[swarm\]'"):
        SwarmAsked(swarm=True).choice()


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://localhost:8000", True),
        ("https://example.org", False),
        ("http://10.0.0.5:8000", False),
    ],
)
def test_a_coordinator_of_this_machine_needs_nobody_elsewhere(url: str, here: bool) -> None:
    (listen,) = listen_at((), url)
    assert ("127.0.0.1" in listen) == here
    assert listen_at(("/ip4/0.0.0.0/tcp/4001",), url) == ("/ip4/0.0.0.0/tcp/4001",)


def test_who_takes_part_agrees_to_be_seen() -> None:
    info, url = PretendGateway().info(), "http://127.0.0.1:8000"
    without, among = consent_for(info, url), consent_for(info, url, ("discovery", "blobs"))
    assert "other nodes" not in without.text
    assert "They see its network address" in " ".join(among.text.split())
    assert without.digest != among.digest
    assert max(map(len, among.text.splitlines())) <= 80


class PretendSidecar:
    state = SidecarState("down", "it was killed by signal 9; starting it again in 1 s")


def test_status_says_how_each_part_is_and_what_it_saved() -> None:
    tally = SwarmTally("discovery", "blobs")
    tally.follow("discovery", cast("Sidecar", PretendSidecar()))
    tally.add("blobs", from_peers_bytes=1_000_000)
    tally.add("blobs", from_peers_bytes=234_567)
    tally.note("discovery", moved=1, last="It is at http://b, it was at http://a")
    said = dict(tally.now().words())
    assert said["discovery"].startswith("down (it was killed by signal 9; starting it again in 1 s); a moved")
    assert said["discovery"].endswith("a moved coordinator found 1 time. It is at http://b, it was at http://a")
    assert "1,234,567 bytes from peers" in said["blobs"]
    assert "team" not in said
    assert "down" not in dict(tally.now().words(is_running=False))["discovery"]


def test_a_status_goes_through_json_and_an_older_one_has_no_swarm() -> None:
    status = NodeStatus(1, 2, swarm=SwarmTally("discovery").now())
    assert NodeStatus.from_json(status.as_json()) == status
    older = status.as_json()
    del older["swarm"]
    again = NodeStatus.from_json(older)
    assert again is not None
    assert again.swarm == SwarmStatus()


def test_who_is_there_fits_a_terminal_whatever_they_call_themselves() -> None:
    seen: dict[str, Any] = {
        "name": "a" * 64,
        "contributor": "f" * 64,
        "doing": "training",
        "round": 123_456,
        "step": 1234,
        "steps": 5678,
        "barnraise": "1" * 64,
        "at_ms": now_ms(),
    }
    found = SwarmStatus(discovery={"nodes": 1, "peers": 1, "moved": 0, "alone": "", "seen": [seen], "state": "ready"})
    lines = _words("r", found.as_json(), found.words())
    assert "1234/5678" in lines[-1]
    assert max(map(len, lines)) <= 80
    nobody = SwarmStatus(discovery={"nodes": 0, "peers": 0, "moved": 0, "alone": "", "seen": [], "state": "ready"})
    assert "nobody was heard of yet" in _words("r", nobody.as_json(), nobody.words())[-1]


def test_it_says_which_release_is_the_newest_though_the_gateway_is_away() -> None:
    tally = SwarmTally("discovery")
    without = tally.now()
    assert not any("newest" in line for line in _words("r", without.as_json(), without.words()))
    tally.note("discovery", newest="0.1." + "9" * 60, newest_at_ms=now_ms() - 240_500)
    found = tally.now()
    lines = _words("r", found.as_json(), found.words())
    assert "as the coordinator's beacon said 4 min ago" in " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= 80
