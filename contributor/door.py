"""At a coordinator's door: it is asked for its run, however long that takes, and the owner to agree to that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from barnraise import __version__
from barnraise.errors import RefusedError, UnknownFieldError, UnreachableError
from barnraise.identity import usual_key
from barnraise.message import check_name
from barnraise.protocol import PROTOCOL_VERSION, RunInfo
from contributor.client import GatewayClient
from contributor.consent import Consent, agreed, consent_for, require
from contributor.events import NodeEvent, Notice
from contributor.first_use import FirstUse, first_use
from contributor.folder import NodeFolder, state_home
from contributor.interrupt import Interrupt
from contributor.node_config import NodeConfig
from contributor.patience import Patience
from contributor.swarm.forwarding import forwarded
from contributor.transport import base_url
from contributor.whereabouts import Whereabouts

__all__ = ["Door", "agree_now", "reach", "run_info"]


@dataclass(frozen=True)
class Door:
    """A coordinator that was reached: what its run is, and who is at its door under which ``name``."""

    config: NodeConfig
    info: RunInfo
    client: GatewayClient
    patience: Patience
    who: FirstUse
    name: str


def reach(config: NodeConfig, interrupt: Interrupt, report: Callable[[NodeEvent], None]) -> Door:
    """Ask the coordinator for its run, however long that takes."""
    url = base_url(config.url)
    who = first_use(config.key or usual_key())
    name = check_name(config.name if config.name is not None else f"contributor-{who.identity.public[:8]}")
    where = Whereabouts(url)
    patience, client = Patience(where, interrupt, report, config.give_up_after_s), GatewayClient.following(where)
    elsewhere = forwarded(url, config.home or state_home(), who.identity.public)

    def ask() -> RunInfo:
        try:
            return run_info(client, where.url)
        except UnreachableError:
            if elsewhere is not None and where.url != elsewhere:
                report(Notice(f"{url} does not answer; as a node here remembers, the coordinator moved to {elsewhere}"))
                where.move(elsewhere)
            raise

    return Door(config, patience.ask(ask), client, patience, who, name)


def agree_now(door: Door, folder: NodeFolder) -> Consent | None:
    """Ask the owner to agree, if that was not done before; what is to be remembered of it."""
    consent = consent_for(door.info, door.patience.url, door.config.swarm.parts)
    agree = door.config.agree
    if agree is None or agreed(folder.consent, consent):
        return None
    require(agree(consent), consent)
    return consent


def run_info(client: GatewayClient, url: str) -> RunInfo:
    """What the coordinator says of its run, or in words that this barnraise is of another version than it."""
    try:
        info = client.run_info()
    except UnknownFieldError as error:
        raise RefusedError(
            f"{url} describes its run in words that barnraise {__version__} does not know ({error}): it trains another "
            "architecture or other data than this version can, or is no coordinator. Nothing was trained. Upgrade with "
            "pip install -U 'barnraise[contributor]', or ask its operator which version the run needs"
        ) from error
    if info.protocol != PROTOCOL_VERSION:
        raise RefusedError(
            f"the coordinator speaks protocol {info.protocol}, this barnraise speaks {PROTOCOL_VERSION}; "
            "install the version that the run's page names"
        )
    return info
