"""Averaging through the team's sidecar: vectors in files of the node's folder, everything else in its requests."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.clock import now_ms
from barnraise.errors import BarnraiseError, MessageError, SwarmError
from barnraise.message import Signed
from barnraise.swarm.addresses import ADDRESSES_MAX
from barnraise.swarm.process import Sidecar
from barnraise.swarm.team_checks import Together
from barnraise.swarm.team_key import TeamSecrets
from barnraise.swarm.team_meeting import found_addresses, left_addresses
from contributor.interrupt import Interrupt
from contributor.swarm.memory import TeamMemory
from contributor.swarm.teamwork import Window

__all__ = ["SidecarExchange"]

READY_S = 60.0
ASK_S = 30.0


@dataclass
class SidecarExchange:
    """The team's sidecar, as :class:`contributor.swarm.teamwork.Exchange`.

    Attributes:
        folder: of the node. member: the contributor's key.
        say: gets where others reach this machine.
        peers: the sidecar of the open swarm, where members leave their addresses; None without one.
    """

    sidecar: Sidecar
    secrets: TeamSecrets
    folder: Path
    member: str
    interrupt: Interrupt
    say: Callable[[str], None]
    peers: Sidecar | None = None

    @property
    def memory(self) -> Path:
        """Where addresses of members are remembered."""
        return self.folder / "team.json"

    def start(self) -> None:
        """Begin the sidecar, and say where it listens once it does."""
        self.sidecar.start()
        threading.Thread(target=self._say_where, name="team-where", daemon=True).start()

    def begin(self, together: Together, until_ms: int) -> None:
        threading.Thread(target=self._begin, args=(together, until_ms), name="team-begin", daemon=True).start()

    def _begin(self, together: Together, until_ms: int) -> None:
        if not self.sidecar.wait_ready(READY_S):
            return
        with suppress(SwarmError):  # the open swarm may not be ready; those who are known are there
            self._meet()
        with suppress(SwarmError):  # who is not heard of is not waited for
            self.sidecar.ask("tell", ASK_S, place=self._place(together), doing="training", until_ms=until_ms)

    def _meet(self) -> None:
        """Leave one's own addresses in the open swarm, and speak with members whose addresses are there."""
        if self.peers is None:
            return
        place, secret = self.secrets.place("meeting"), self.secrets.meeting
        own = list((self.sidecar.state.facts or {}).get("addresses", ()))
        word = base64.b64encode(left_addresses(secret, place, own, now_ms())).decode("ascii")
        self.peers.ask("leave", ASK_S, place=place, name=self.secrets.place("name", self.member), word=word)
        words = self.peers.ask("found", ASK_S, place=place).get("words", [])
        found = [
            address
            for one in words
            for address in found_addresses(secret, place, base64.b64decode(one), now_ms())
            if address not in own
        ]
        if found:
            self.sidecar.ask("meet", ASK_S, addresses=found[:ADDRESSES_MAX])

    def _say_where(self) -> None:
        """Tell the owner the address that other members need."""
        self.sidecar.wait_ready(READY_S)
        facts = self.sidecar.state.facts or {}
        if facts.get("addresses"):
            self.say(f"the team's other members reach this machine with: --team-peer {facts['addresses'][0]}")

    def average(
        self, together: Together, vector_P: NDArray[np.float32], share: Signed, window: Window
    ) -> tuple[NDArray[np.float32], list[Signed]]:
        name = share.body["lease_id"]
        vector, result = (self.folder / f"team-{name}.{end}" for end in ("mine", "mean"))
        try:
            np.ascontiguousarray(vector_P, dtype=np.float32).tofile(vector)
            answer = self._asked(
                window,
                place=self._place(together),
                prefix=self.secrets.place("average", *_parts(together)),
                until_ms=window.until_ms,
                vector=str(vector),
                result=str(result),
                tokens=share.body["tokens"],
                share=json.dumps(share.model_dump(mode="json")),
                wait_s=window.wait_s,
            )
            self._remember(answer)
            return np.fromfile(result, dtype=np.float32), _shares(answer)
        except OSError as error:
            raise SwarmError(
                f"the vectors of the team have no place on this disk ({error.strerror or error})"
            ) from error
        finally:
            for path in (vector, result):
                path.unlink(missing_ok=True)

    def _asked(self, window: Window, **arguments: Any) -> dict[str, Any]:
        """The sidecar's answer, for as long as the owner wants no stop."""
        answers: list[dict[str, Any] | SwarmError] = []

        def ask() -> None:
            if self.sidecar.state.doing == "starting":
                self.sidecar.wait_ready(window.wait_s)
            try:
                answers.append(self.sidecar.ask("average", window.total_s, **arguments))
            except SwarmError as error:
                answers.append(error)

        asking = threading.Thread(target=ask, name="team-average", daemon=True)
        asking.start()
        self.interrupt.wait(window.total_s, until_stop=True, until=lambda: bool(answers))
        if not answers:
            stopped = self.interrupt.stop
            raise SwarmError("a stop was asked for" if stopped else f"no answer within {window.total_s:.0f} s")
        if isinstance(answers[0], SwarmError):
            raise answers[0]
        return answers[0]

    def _remember(self, answer: dict[str, Any]) -> None:
        """Keep where others are reached, the newest first, for the next start."""
        others = [said for member, said in answer.get("members", {}).items() if member != self.member]
        found = [address for said in others for address in said["addresses"]]
        before = TeamMemory.load(self.memory).peers
        with suppress(BarnraiseError):
            TeamMemory.read({"peers": tuple(dict.fromkeys((*found, *before)))[:ADDRESSES_MAX]}).keep(self.memory)

    def _place(self, together: Together) -> str:
        return self.secrets.place("members", *_parts(together))


def _parts(together: Together) -> tuple[object, ...]:
    return together.run, together.round, together.base_digest, together.size


def _shares(answer: dict[str, Any]) -> list[Signed]:
    try:
        return [Signed.read(json.loads(share)) for share in answer["shares"]]
    except (ValueError, KeyError, TypeError, MessageError) as error:
        raise SwarmError(f"a member's share cannot be read: {error}") from error
