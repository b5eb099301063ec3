"""Two nodes of a team, as their owners start them, and a real gateway: one update for both, with both credited.

What the conductor does is done in the test's own process, so that no Ray is started.
"""

from __future__ import annotations

import json
from pathlib import Path

from barnraise.clock import now_ms
from coordinator.contributors import contributor_lines
from processes import Program, Site, until
from simulator import Simulation, tiny_config

PORT_FREE = "/ip4/127.0.0.1/tcp/0"
ROUNDS = {"target_updates": 2, "min_updates": 1, "collect_for_s": 240, "settle_for_s": 5, "lease_for_s": 240}
TRAINING = {"steps": 10, "batch": 8, "learning_rate": 1e-2}


def events_of(site: Site, name: str) -> list[dict[str, object]]:
    """What a node has said so far."""
    path = site.root / f"{name}.log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def address_of(site: Site, name: str) -> str:
    """Where a node says that its team reaches it; "" as long as it does not."""
    told = [str(event["text"]) for event in events_of(site, name) if event["event"] == "notice"]
    return next((text.split("--team-peer ")[1] for text in told if "--team-peer " in text), "")


def test_one_update_for_both_and_both_are_credited(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        config = tiny_config(round=ROUNDS, training=TRAINING, merge={"weight_by": "tokens"})
        run = Simulation(site.folder.root, config, now_ms())
        site.starts_module("gateway", "coordinator.gateway", "--run", str(site.folder.root))
        site.runs("team", "new", str(tmp_path / "team.key"))
        options = ("--team", "friends", "--team-key", str(tmp_path / "team.key"), "--team-wait", "100", "--units", "1")
        ada = site.joins("ada", *options, "--team-listen", PORT_FREE)
        bob = site.joins("bob", *options, "--team-peer", until(lambda: address_of(site, "ada"), "ada's address"))
        until(lambda: address_of(site, "bob"), "bob's address")  # no round is open before both can speak
        goes_on(run, ada, bob)
        assert (ada.ends(), bob.ends()) == (0, 0)

        (update,) = run.ledger.updates()
        keys = {line.contributor for line in contributor_lines(run.ledger).contributors}
        assert len(keys) == 2
        assert set(run.ledger.members(update.digest)[update.digest]) == keys
        assert [lease.update_digest for lease in run.ledger.leases(1)] == [update.digest] * 2
        assert len(update.envelope["body"]["team"]) == 2
        for name in ("ada", "bob"):
            received = [event for event in events_of(site, name) if event["event"] == "received"]
            assert [event["digest"] for event in received] == [update.digest]
            history = site.runs("history", "--home", str(tmp_path / name), "--json").result
            assert update.digest in json.dumps(history)


def goes_on(run: Simulation, *nodes: Program) -> None:
    """The conductor's work, by the real clock, until the nodes have ended."""

    def ended() -> bool:
        run.clock.now_ms = now_ms()
        run.ticks()
        return all(node.ended for node in nodes)

    until(ended, "the nodes to end")
