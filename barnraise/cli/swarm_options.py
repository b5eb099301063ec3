"""What ``barnraise join`` is told of the swarm: options, and what they come to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnraise.errors import UsageError

if TYPE_CHECKING:
    from contributor.swarm.choice import SwarmChoice

__all__ = [
    "AddressesOption",
    "NoDiscoveryOption",
    "NoPeersOption",
    "PeersOption",
    "SwarmAsked",
    "SwarmOption",
    "TeamKeyOption",
    "TeamListenOption",
    "TeamOption",
    "TeamPeersOption",
    "TeamWaitOption",
]

SwarmOption = Annotated[
    bool, typer.Option("--swarm", help="Help and be helped by other nodes; they see your address (docs/swarm.md).")
]
NoDiscoveryOption = Annotated[bool, typer.Option("--no-discovery", help="With --swarm: only exchange releases.")]
NoPeersOption = Annotated[bool, typer.Option("--no-peers", help="With --swarm: exchange no releases.")]
TeamOption = Annotated[str | None, typer.Option("--team", help="Average updates with this team before sending.")]
TeamKeyOption = Annotated[Path | None, typer.Option("--team-key", help="File of the key that the team shares.")]
AddressesOption = Annotated[
    list[str] | None, typer.Option("--swarm-listen", help="Where to listen, such as /ip4/0.0.0.0/tcp/4001.")
]
PeersOption = Annotated[
    list[str] | None, typer.Option("--swarm-peer", help="A peer to begin with, beside those that the run names.")
]

TeamPeersOption = Annotated[
    list[str] | None,
    typer.Option("--team-peer", help="Where a member of the team is reached; it says so at its start."),
]
TeamListenOption = Annotated[
    list[str] | None, typer.Option("--team-listen", help="Where to listen for the team, such as /ip4/0.0.0.0/tcp/4002.")
]
TeamWaitOption = Annotated[
    float | None,
    typer.Option("--team-wait", min=0, max=3600, help="Seconds to wait for members who still train; 30 by default."),
]

_TEAM = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class SwarmAsked:
    """The options as they were given."""

    swarm: bool = False
    no_discovery: bool = False
    no_peers: bool = False
    team: str | None = None
    team_key: Path | None = None
    listen: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    team_peers: tuple[str, ...] = ()
    team_listen: tuple[str, ...] = ()
    team_wait_s: float | None = None

    def choice(self) -> SwarmChoice:
        """What they come to.

        Raises:
            UsageError: they contradict each other, or one of them would be ignored.
            MissingExtraError: something is wanted, and hivemind is not installed.
        """
        from contributor.swarm.choice import TEAM_WAIT_S, SwarmChoice, TeamChoice

        self._check()
        team = None
        if self.team is not None and self.team_key is not None:
            listen, peers = self.team_listen, self.team_peers
            if not self.swarm:  # then there is no other host that they could be meant for
                listen, peers = (*listen, *self.listen), (*peers, *self.peers)
            wait_s = TEAM_WAIT_S if self.team_wait_s is None else self.team_wait_s
            team = TeamChoice(self.team, self.team_key, peers, listen, wait_s)
        choice = SwarmChoice(
            discovery=self.swarm and not self.no_discovery,
            blobs=self.swarm and not self.no_peers,
            team=team,
            listen=self.listen,
            bootstrap=self.peers,
        )
        if choice.parts:
            from barnraise.installation import require

            require("swarm")
        return choice

    def _check(self) -> None:
        for option, given in (("--no-discovery", self.no_discovery), ("--no-peers", self.no_peers)):
            if given and not self.swarm:
                raise UsageError(f"{option} would be ignored without --swarm; add --swarm, or leave it out")
        for option, addresses in (("--swarm-listen", self.listen), ("--swarm-peer", self.peers)):
            if addresses and not self.swarm and self.team is None:
                raise UsageError(f"{option} would be ignored without --swarm or --team; add one, or leave it out")
        if self.no_discovery and self.no_peers:
            raise UsageError("--no-discovery and --no-peers leave nothing of --swarm; leave out one of the three")
        self._check_team()
        self._check_addresses()

    def _check_team(self) -> None:
        if (self.team is None) != (self.team_key is None):
            given, lacking = ("--team", "--team-key FILE") if self.team is not None else ("--team-key", "--team NAME")
            raise UsageError(f"{given} needs {lacking}: a team is its name and the key that its members share")
        of_team = {"--team-peer": self.team_peers, "--team-listen": self.team_listen, "--team-wait": self.team_wait_s}
        for option, given_so in of_team.items():
            if given_so not in (None, ()) and self.team is None:
                raise UsageError(f"{option} would be ignored without --team; add it, or leave {option} out")
        if self.team is not None and not _TEAM.match(self.team):
            raise UsageError(f"--team {self.team[:40]!a}: 1 to 32 lower-case letters, digits and inner hyphens")
        if self.team_key is not None and not self.team_key.is_file():
            raise UsageError(f"--team-key {self.team_key}: there is no such file; a member of the team has it")

    def _check_addresses(self) -> None:
        from barnraise.swarm.addresses import ADDRESSES_MAX, fault_of

        every = (
            ("--swarm-listen", self.listen, False),
            ("--swarm-peer", self.peers, True),
            ("--team-listen", self.team_listen, False),
            ("--team-peer", self.team_peers, True),
        )
        for option, given, peer in every:
            if len(given) > ADDRESSES_MAX:
                raise UsageError(f"{option} was given {len(given)} times, {ADDRESSES_MAX} are enough")
            for address in given:
                if fault := fault_of(address, peer=peer):
                    raise UsageError(f"{option}: {fault}")
