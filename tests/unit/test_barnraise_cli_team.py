"""``barnraise team``, and what ``join`` is told of a team."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnraise.cli import run
from barnraise.cli.swarm_options import SwarmAsked
from barnraise.errors import UsageError
from barnraise.swarm.team_key import TeamKey
from commands import answered

PEER = "/ip4/10.0.0.4/tcp/4002/p2p/12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"


def test_a_key_is_made_shown_and_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "team.key"
    code, made = answered(capsys, "team", "new", str(path))
    assert (code, made["new"]) == (0, True)
    _, shown = answered(capsys, "team", "show", str(path))
    assert shown["fingerprint"] == made["fingerprint"] == TeamKey.load(path).fingerprint
    code, refused = answered(capsys, "team", "new", str(path))
    assert (code, refused["code"]) == (3, "config-value")
    assert TeamKey.load(path).fingerprint == made["fingerprint"]


def test_people_are_told_what_to_do_with_it_and_never_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "team.key"
    assert run(["team", "new", str(path)]) == 0
    told = capsys.readouterr().out
    assert "as you would hand on a password" in told
    assert TeamKey.load(path).secret.hex() not in told
    assert run(["team", "show", str(tmp_path / "none")]) == 3
    assert "a member has it" in " ".join(capsys.readouterr().err.split())


def test_addresses_of_a_team_go_where_they_are_meant_for(tmp_path: Path) -> None:
    key, listen = tmp_path / "key", "/ip4/0.0.0.0/tcp/4002"
    key.touch()
    asked = SwarmAsked(team="friends", team_key=key, team_peers=(PEER,), team_listen=(listen,), team_wait_s=5.0)
    team = asked.choice().team
    assert team is not None
    assert (team.peers, team.listen, team.wait_s) == ((PEER,), (listen,), 5.0)
    alone = SwarmAsked(team="friends", team_key=key, peers=(PEER,), listen=(listen,)).choice().team
    assert alone is not None
    assert (alone.peers, alone.listen) == ((PEER,), (listen,))
    both = SwarmAsked(swarm=True, team="friends", team_key=key, peers=(PEER,), listen=(listen,)).choice().team
    assert both is not None
    assert (both.peers, both.listen) == ((), ())


@pytest.mark.parametrize("asked", [SwarmAsked(team_peers=(PEER,)), SwarmAsked(team_listen=("/ip4/0.0.0.0/tcp/1",))])
def test_what_would_be_ignored_is_refused(asked: SwarmAsked) -> None:
    with pytest.raises(UsageError, match="would be ignored without --team"):
        asked.choice()
