"""A libp2p daemon and a DHT of hivemind's, as settings want them.

hivemind keeps the DHT in a process that it forks, and the daemon in one more; both are in the sidecar's
group and end with it. Their sockets are in the sidecar's folder: hivemind would leave them behind in the
system's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hivemind import DHT
from hivemind.dht.validation import RecordValidatorBase
from hivemind.p2p import P2P
from hivemind.utils.auth import AuthorizerBase

from barnraise.errors import SwarmError
from barnraise.process import end_with_parent

__all__ = ["Host", "HostSettings"]

START_S = 30.0
STARTED_HERE_S = 15.0
ANSWER_S = 20.0


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How to take part.

    Attributes:
        listen: multiaddresses to listen at; port 0 lets the system choose.
        announce: where others reach this host, if that is not where it listens.
        bootstrap: multiaddresses, with peer ids, of hosts to begin with; none begins a swarm of its own.
        identity: file of the host's libp2p key, made when missing; "" for a new one each time.
        relay: be reachable through relays from behind a NAT.
    """

    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    announce: tuple[str, ...] = ()
    bootstrap: tuple[str, ...] = ()
    identity: str = ""
    relay: bool = True

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> HostSettings:
        """From the owner's JSON, its ``host`` part; what is not there keeps its default."""
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in settings.get("host", {}).items()
        }
        return cls(**given)


@dataclass(frozen=True)
class Host:
    """A running DHT and the daemon under it.

    Attributes:
        p2p: the same daemon, for this process: streams in this process's event loop.
        alone: none of ``bootstrap`` could be reached; it waits to be found, or for better addresses.
    """

    dht: DHT
    p2p: P2P
    alone: bool = False

    @classmethod
    async def start(
        cls,
        settings: HostSettings,
        folder: str,
        validators: Sequence[RecordValidatorBase] = (),
        authorizer: AuthorizerBase | None = None,
    ) -> Host:
        """Start both.

        Args:
            folder: where sockets may be.
            validators: of records that are stored here or come from elsewhere; asked in the DHT's process.
            authorizer: lets into the DHT only whom it says; None lets anybody.

        Raises:
            SwarmError: the daemon does not start, with what it said.
        """
        P2P._UNIX_SOCKET_PREFIX = f"/unix{folder}/"  # hivemind has no option for where they are
        os.register_at_fork(after_in_child=end_with_parent)
        try:
            dht = cls._made(settings, settings.bootstrap, validators, authorizer)
            return cls(dht, await dht.replicate_p2p())
        except Exception as error:
            if not settings.bootstrap:
                raise SwarmError(f"hivemind's libp2p daemon does not start: {_words(error)}") from error
        # Perhaps it is only that nobody is there to begin with.
        try:
            dht = cls._made(settings, (), validators, authorizer)
            return cls(dht, await dht.replicate_p2p(), alone=True)
        except Exception as error:
            raise SwarmError(f"hivemind's libp2p daemon does not start: {_words(error)}") from error

    @staticmethod
    def _made(
        settings: HostSettings,
        bootstrap: tuple[str, ...],
        validators: Sequence[RecordValidatorBase],
        authorizer: AuthorizerBase | None,
    ) -> DHT:
        dht = DHT(
            initial_peers=list(bootstrap),
            start=False,
            record_validators=list(validators),
            authorizer=authorizer,
            host_maddrs=list(settings.listen),
            announce_maddrs=list(settings.announce) or None,
            identity_path=settings.identity or None,
            check_if_identity_free=False,
            use_relay=settings.relay,
            use_auto_relay=settings.relay,
            use_ipfs=False,
            startup_timeout=STARTED_HERE_S,
        )
        try:
            dht.run_in_background(await_ready=True, timeout=START_S)
        except BaseException:
            dht.shutdown()
            raise
        return dht

    @property
    def peer(self) -> str:
        """Its id in the swarm."""
        return str(self.p2p.peer_id)

    async def addresses(self) -> list[str]:
        """Where others reach it, each with its peer id."""
        return [str(address) for address in await self.p2p.get_visible_maddrs()]

    async def fault(self) -> str:
        """What of it has died, in words; "" while both work."""
        if not self.dht.is_alive():
            return "hivemind's DHT has died"
        try:
            async with asyncio.timeout(ANSWER_S):
                await self.p2p.list_peers()
        except Exception as error:  # noqa: BLE001  hivemind raises all kinds when its daemon is gone
            return f"hivemind's libp2p daemon does not answer: {_words(error)}"
        return ""

    async def stop(self) -> None:
        """End both."""
        await self.p2p.shutdown()
        await asyncio.to_thread(self.dht.shutdown)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:300]}" if str(error) else type(error).__name__
