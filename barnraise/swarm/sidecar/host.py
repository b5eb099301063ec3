"""A libp2p daemon and a DHT of hivemind's, as settings want them.

hivemind keeps the DHT in a process that it forks, and the daemon in one more; both are in the sidecar's
group and end with it. Their sockets are in the sidecar's folder: hivemind would leave them behind in the
system's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hivemind import DHT
from hivemind.dht.node import DHTNode
from hivemind.dht.validation import RecordValidatorBase
from hivemind.p2p import P2P, PeerID
from hivemind.utils.auth import AuthorizerBase
from hivemind.utils.multiaddr import Multiaddr

from barnraise.errors import SwarmError
from barnraise.process import end_with_parent
from barnraise.swarm.addresses import ADDRESSES_MAX, fault_of, peer_of
from barnraise.swarm.sidecar.faults import translated

__all__ = ["Host", "HostSettings"]

START_S = 30.0
STARTED_HERE_S = 15.0
ANSWER_S = 20.0  # of the DHT or the daemon; a look-up asks peer after peer
GREET_S = 5.0
NO_START = "hivemind's libp2p daemon does not start"


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
            with translated(NO_START):
                dht = cls._made(settings, settings.bootstrap, validators, authorizer)
                return cls(dht, await dht.replicate_p2p())
        except SwarmError:
            if not settings.bootstrap:
                raise
        with translated(NO_START):  # perhaps it was only that nobody is there to begin with
            dht = cls._made(settings, (), validators, authorizer)
            return cls(dht, await dht.replicate_p2p(), alone=True)

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
        with translated("hivemind's libp2p daemon does not say where it is reached"):
            return [str(address) for address in await self.p2p.get_visible_maddrs()]

    async def get(self, key: str, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """What anybody has left under a key: subkey -> value, of whatever kind.

        Raises:
            SwarmError: there is no answer.
        """
        found = await self._asked(self.dht.get, key, timeout_s=timeout_s, latest=True)
        if found is None or not isinstance(found.value, dict):
            return {}
        return {subkey: getattr(one, "value", None) for subkey, one in found.value.items() if isinstance(subkey, str)}

    async def store(self, key: str, subkey: str, value: Any, ends_s: float) -> bool:
        """Leave a value under a key, until then; whether anybody, this host included, has taken it.

        Raises:
            SwarmError: there is no answer.
        """
        return bool(await self._asked(self.dht.store, key, value, ends_s, timeout_s=ANSWER_S, subkey=subkey))

    async def meet(self, addresses: Iterable[str]) -> list[str]:
        """Speak with hosts at these addresses from now on; the ids of those who answer.

        Raises:
            SwarmError: there is no answer from the DHT's process.
        """
        others = [one for one in addresses if not fault_of(one, peer=True) and peer_of(one) != self.peer]
        greet = partial(_greet, addresses=others[:ADDRESSES_MAX])
        met: list[str] = await self._asked(self.dht.run_coroutine, greet, timeout_s=ANSWER_S)
        return met

    async def known(self) -> int:
        """How many peers it knows.

        Raises:
            SwarmError: there is no answer from the DHT's process.
        """
        return int(await self._asked(self.dht.run_coroutine, _count_peers, timeout_s=ANSWER_S))

    @staticmethod
    async def _asked(ask: Callable[..., Any], *arguments: Any, timeout_s: float, **named: Any) -> Any:
        """Ask the DHT's process: from this thread only, for the pipe to it is not made for two at once."""
        with translated("hivemind's DHT gives no answer"):
            try:
                async with asyncio.timeout(timeout_s):
                    return await ask(*arguments, return_future=True, **named)
            except TimeoutError as error:
                raise SwarmError(f"hivemind's DHT gave no answer within {timeout_s:g} s") from error

    async def fault(self) -> str:
        """What of it has died, in words; "" while both work."""
        if not self.dht.is_alive():
            return "hivemind's DHT has died"
        try:
            with translated("hivemind's libp2p daemon does not answer"):
                async with asyncio.timeout(ANSWER_S):
                    await self.p2p.list_peers()
        except SwarmError as error:
            return error.reason
        return ""

    async def stop(self) -> None:
        """End both."""
        await self.p2p.shutdown()
        await asyncio.to_thread(self.dht.shutdown)


# -- what runs in the DHT's own process ----------------------------------------------------------------------------


async def _count_peers(_dht: DHT, node: DHTNode) -> int:
    return len(node.protocol.routing_table.peer_id_to_uid)


async def _greet(_dht: DHT, node: DHTNode, addresses: Sequence[str]) -> list[str]:
    """Connect, and ask whether there is a DHT that lets us in; whoever answers is in the routing table from now on."""

    async def greet(address: str) -> str | None:
        whom = peer_of(address)
        try:
            with translated("nobody is met there"):
                peer, where = PeerID.from_base58(whom), Multiaddr(address.removesuffix(f"/p2p/{whom}"))
                await asyncio.wait_for(node.p2p._client.connect(peer, [where]), GREET_S)  # there is no public way
                answer = await asyncio.wait_for(node.protocol.call_ping(peer), GREET_S)
        except SwarmError:
            return None
        return whom if answer is not None else None

    return [peer for peer in await asyncio.gather(*map(greet, addresses)) if peer is not None]
