"""Where somebody in the swarm is reached, as a multiaddress: ``/ip4/203.0.113.5/tcp/4001/p2p/12D3Koo..``.

Only the form is checked here. What answers at an address is whoever it is.

Source: https://github.com/multiformats/multiaddr
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

__all__ = ["ADDRESSES_MAX", "ListenAddress", "PeerAddress", "fault_of", "peer_of"]

ADDRESS_MAX_CHARS = 300
ADDRESSES_MAX = 16
"""Of one host, and of hosts to begin with: more say nothing more."""

_WHERE = r"/(?:ip4/[0-9.]{7,15}|ip6/[0-9a-fA-F:.]{2,45}|dns[46]?/[A-Za-z0-9.-]{1,253})/(?:tcp|udp)/[0-9]{1,5}"
_PEER = r"/p2p/(?P<peer>[1-9A-HJ-NP-Za-km-z]{40,64})"
_LISTEN = re.compile(rf"{_WHERE}(?:/quic(?:-v1)?)?\Z")
_REACHED = re.compile(rf"{_WHERE}(?:/quic(?:-v1)?)?(?:/p2p/[1-9A-HJ-NP-Za-km-z]{{40,64}}/p2p-circuit)?{_PEER}\Z")


def fault_of(address: str, *, peer: bool) -> str:
    """What is wrong with an address, as part of a sentence; "" for a good one.

    Args:
        peer: it must end with the id of who is reached there; otherwise it must have none.
    """
    form = _REACHED if peer else _LISTEN
    if len(address) <= ADDRESS_MAX_CHARS and form.match(address):
        return ""
    example = "/ip4/203.0.113.5/tcp/4001/p2p/12D3Koo.." if peer else "/ip4/0.0.0.0/tcp/4001"
    return f"{address[:100]!a} is no multiaddress {'of a peer ' if peer else 'to listen at '}such as {example}"


def peer_of(address: str) -> str:
    """The id of who is reached at an address; "" where it names nobody."""
    found = _REACHED.match(address)
    return "" if found is None else found["peer"]


def _of_peer(address: str) -> str:
    if fault := fault_of(address, peer=True):
        raise ValueError(fault)
    return address


def _to_listen(address: str) -> str:
    if fault := fault_of(address, peer=False):
        raise ValueError(fault)
    return address


PeerAddress = Annotated[str, AfterValidator(_of_peer)]
ListenAddress = Annotated[str, AfterValidator(_to_listen)]
