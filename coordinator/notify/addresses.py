"""Which addresses a webhook may go to: none inside, whatever its name resolves to.

An operator's configuration is trusted, the name server of the target is not: it could answer with an
address of this machine, its network, or its cloud's metadata service. So all answers are looked at, and the
connection goes to an address that was looked at, not to the name once more.

Source: https://owasp.org/www-community/attacks/Server_Side_Request_Forgery;
https://www.iana.org/assignments/iana-ipv6-special-registry (NAT64, 6to4, Teredo carry an IPv4 address inside)
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from barnraise.errors import UnreachableError

__all__ = ["choose_address", "is_public"]

NAT64 = IPv6Network("64:ff9b::/96")


def choose_address(found: Sequence[str], *, allow_private: bool) -> str:
    """The address to connect to. Refusals name neither host nor address: they get into the ledger, which is public.

    Args:
        found: everything that the url's host resolves to.

    Raises:
        UnreachableError: it resolves to nothing, or to an address that is not public.
    """
    if not found:
        raise UnreachableError("the url's host has no address; look at it")
    if not allow_private and not all(is_public(address) for address in found):
        raise UnreachableError(
            "the url's host has an address that is not public; nothing was sent. If that is meant, set "
            "allow_private = true for this webhook"
        )
    return found[0]


def is_public(address: str) -> bool:
    """Whether an address is anybody's on the internet; what it carries inside counts too."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast and not one.is_reserved for one in _meant(parsed))


def _meant(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address and every IPv4 address that packets to it may end up at."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in NAT64:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    carried: list[IPv4Address | IPv6Address] = [address]
    if address.sixtofour is not None:
        carried.append(address.sixtofour)
    if address.teredo is not None:
        carried += address.teredo
    return carried
