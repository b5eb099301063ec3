"""What a run's beacon says, and when it is signed anew. Pure.

A beacon holds for an hour and is renewed after ten minutes, so that a coordinator that is down for half an hour is
still found by whoever looks, and an old address is believed for an hour at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from barnraise.config import RunConfig
from barnraise.swarm.addresses import ADDRESSES_MAX, fault_of
from barnraise.swarm.records import BEACON_FOR_MS, Beacon

__all__ = ["RENEW_AFTER_MS", "Due", "addresses_of", "beacon_of", "due", "gateways_of"]

RENEW_AFTER_MS = 600_000
LOOPBACK = ("/ip4/127.", "/ip6/::1/")
NOWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  nothing is bound here: these are no addresses to send people to


@dataclass(frozen=True, slots=True)
class Due:
    """Whether to publish, and why in one sentence."""

    publish: bool
    reason: str


def gateways_of(config: RunConfig, listening: str | None) -> tuple[str, ...]:
    """The URLs to name.

    Args:
        listening: where the gateway listens now; None while it does not.
    """
    if config.swarm.gateways:
        return tuple(url.rstrip("/") for url in config.swarm.gateways)
    if config.gateway.public_url is not None:
        return (config.gateway.public_url.rstrip("/"),)
    if listening is None or urlsplit(listening).hostname in NOWHERE:
        return ()
    return (listening,)


def addresses_of(host: Iterable[str]) -> tuple[str, ...]:
    """Which addresses of the host to name: well-formed, not too many, loopback only where it has no others."""
    good = [address for address in host if not fault_of(address, peer=True)]
    elsewhere = [address for address in good if not address.startswith(LOOPBACK)]
    return tuple(elsewhere or good)[:ADDRESSES_MAX]


def beacon_of(run: str, gateways: Sequence[str], newest: str | None, bootstrap: Sequence[str], now_ms: int) -> Beacon:
    """What to sign now."""
    return Beacon(
        run=run,
        gateways=tuple(gateways),
        newest=newest,
        bootstrap=tuple(bootstrap),
        at_ms=now_ms,
        expires_at_ms=now_ms + BEACON_FOR_MS,
    )


def due(last: Beacon | None, now: Beacon) -> Due:
    """Whether the beacon has to be published.

    Args:
        last: that was taken; None before the first, and after the swarm's host was started anew.
        now: that would be published.
    """
    if last is None:
        return Due(True, "there is none yet")
    for field, what in (("gateways", "the gateway is elsewhere"), ("newest", "there is a newer release")):
        if getattr(last, field) != getattr(now, field):
            return Due(True, what)
    if set(last.bootstrap) != set(now.bootstrap):
        return Due(True, "the host has other addresses")
    age_ms = now.at_ms - last.at_ms
    if not 0 <= age_ms < RENEW_AFTER_MS:
        return Due(True, f"the last one is {age_ms // 1000} s old, renewed after {RENEW_AFTER_MS // 1000} s")
    return Due(False, f"the last one is {age_ms // 1000} s old and still true")
