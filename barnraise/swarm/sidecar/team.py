"""The closed swarm of a team: a DHT that members alone may speak in, and averaging among them.

Settings: ``host``, ``member`` (the contributor's key), ``access`` and ``words`` (secrets of the team, in hex).

    tell     say at a place what this member does
    members  who said what at a place
    meet     speak with hosts at these addresses from now on
    average  average a vector in a file with those who are ready at a place
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from barnraise.errors import SwarmError
from barnraise.swarm.addresses import ADDRESSES_MAX, fault_of
from barnraise.swarm.sidecar.host import Host, HostSettings
from barnraise.swarm.sidecar.service import Command
from barnraise.swarm.sidecar.team_access import TeamAuthorizer
from barnraise.swarm.sidecar.team_averaging import Job, average
from barnraise.swarm.team_waiting import DOINGS, Begin, GoAlone, averaging_may_take_s, begin_or_wait

__all__ = ["Team"]

LOOK_AGAIN_S = 0.5
MEMBERS_LOOKED_AT = 64


class Team:
    """The service ``team``."""

    def __init__(self) -> None:
        self._host: Host | None = None
        self._member = ""
        self._words = b""
        self._addresses: list[str] = []
        self._lingering: set[asyncio.Task[None]] = set()

    async def start(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        authorizer = TeamAuthorizer(bytes.fromhex(settings["access"]))
        self._words = bytes.fromhex(settings["words"])
        self._member = str(settings["member"])
        self._host = host = await Host.start(HostSettings.read(settings), settings["folder"], authorizer=authorizer)
        self._addresses = await host.addresses()
        return {"peer": host.peer, "addresses": self._addresses, "alone": host.alone}

    def commands(self) -> Mapping[str, Command]:
        return {"tell": self._tell, "members": self._members, "meet": self._meet, "average": self._average}

    async def fault(self) -> str:
        return "" if self._host is None else await self._host.fault()

    async def stop(self) -> None:
        for task in self._lingering:
            task.cancel()
        await asyncio.gather(*self._lingering, return_exceptions=True)
        if self._host is not None:
            await self._host.stop()

    # -- what members say -------------------------------------------------------------------------

    async def _tell(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """``place``, ``doing`` and ``until_ms``, after which nobody is interested any more."""
        doing = str(arguments["doing"])
        said = {"doing": doing, "addresses": self._addresses[:ADDRESSES_MAX]}
        # What is said later has a later end, for a DHT keeps what ends last.
        until_s = int(arguments["until_ms"]) / 1000 + DOINGS.index(doing)
        return {"told": await self._running.store(str(arguments["place"]), self._member, said, until_s)}

    async def _members(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of ``place``: member -> what it does and where it is reached."""
        return {"members": await self._heard(str(arguments["place"]))}

    async def _heard(self, place: str) -> dict[str, dict[str, Any]]:
        heard = {}
        for member, said in islice((await self._running.get(place)).items(), MEMBERS_LOOKED_AT):
            if isinstance(said, dict) and said.get("doing") in DOINGS:
                given = said.get("addresses")
                addresses = [str(one) for one in given if not fault_of(str(one), peer=True)] if given else []
                heard[member[:64]] = {"doing": said["doing"], "addresses": addresses[:ADDRESSES_MAX]}
        return heard

    async def _meet(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Speak with hosts at ``addresses``; ``met`` are those who answered as members."""
        return {"met": await self._running.meet(map(str, arguments["addresses"]))}

    # -- averaging ----------------------------------------------------------------------------------

    async def _average(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Wait for those who train with this member, then average.

        ``place`` and ``until_ms`` as in ``tell``, ``prefix`` (of the averager, told to nobody), ``vector`` and
        ``result`` (files of float32), ``tokens``, ``share`` (what all members get to read), ``wait_s``.
        """
        place, wait_s = str(arguments["place"]), float(arguments["wait_s"])
        about = {"place": place, "until_ms": arguments["until_ms"]}
        await self._tell({**about, "doing": "ready"})
        try:
            members, waited_s = await self._wait(place, wait_s)
            vector = Path(arguments["vector"])
            limit_s = averaging_may_take_s(vector.stat().st_size // 4, members)
            job = Job(
                str(arguments["prefix"]),
                vector,
                Path(arguments["result"]),
                float(arguments["tokens"]),
                str(arguments["share"]).encode(),
                self._words,
                limit_s,
            )
            began_s = time.monotonic()
            shares, ending = await average(self._running.dht, job)
            task = asyncio.create_task(ending)
            self._lingering.add(task)
            task.add_done_callback(self._lingering.discard)
            took = {"waited_s": waited_s, "averaging_s": time.monotonic() - began_s}
            return {"shares": shares, **took, "members": await self._heard(place)}
        finally:
            with suppress(SwarmError):  # others learn it when this member does not answer
                await self._tell({**about, "doing": "gone"})

    async def _wait(self, place: str, wait_s: float) -> tuple[int, float]:
        """Until it can begin: how many are ready, and how long that took.

        Raises:
            SwarmError: there is nobody to average with.
        """
        began_s = time.monotonic()
        while True:
            doings = {member: heard["doing"] for member, heard in (await self._heard(place)).items()}
            waited_s = time.monotonic() - began_s
            match begin_or_wait(doings, self._member, waited_s, wait_s):
                case GoAlone(reason):
                    raise SwarmError(reason)
                case Begin():
                    return sum(doing == "ready" for doing in doings.values()), waited_s
                case _:
                    await asyncio.sleep(LOOK_AGAIN_S)

    @property
    def _running(self) -> Host:
        assert self._host is not None, "asked before it was started"
        return self._host
