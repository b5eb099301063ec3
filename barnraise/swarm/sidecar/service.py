"""What a service of a sidecar is, and which there are."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from barnraise.errors import UsageError

__all__ = ["SERVICES", "Command", "Service", "service_of"]

Command = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""From arguments to a result. Raises a BarnraiseError for what cannot be done."""

SERVICES = {
    "peers": "barnraise.swarm.sidecar.peers:Peers",
    "team": "barnraise.swarm.sidecar.team:Team",
}
"""Name -> where its class is. Imported when it runs: a service brings hivemind and torch with it."""


class Service(Protocol):
    """Something that a sidecar does."""

    async def start(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Begin.

        Args:
            settings: JSON of the owner, and ``folder``, where sockets may be.

        Returns:
            facts for the owner: addresses and the like.

        Raises:
            BarnraiseError: it cannot, and why.
        """

    def commands(self) -> Mapping[str, Command]:
        """What it can be asked, by name."""

    async def fault(self) -> str:
        """Why it cannot go on, in words; "" while it can. Asked every few seconds."""

    async def stop(self) -> None:
        """End what was begun, within a few seconds."""


def service_of(name: str) -> Service:
    """A service, by its name in ``SERVICES``.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in SERVICES:
        raise UsageError(f"there is no service {name[:40]!a}; there are {', '.join(SERVICES)}")
    module, _, attribute = SERVICES[name].partition(":")
    made: Service = getattr(importlib.import_module(module), attribute)()
    return made
