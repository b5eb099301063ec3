"""Whether a run keeps a beacon in a swarm of its nodes: the table ``[swarm]`` of its configuration.

None of this is published with the configuration: these are the addresses of one coordinator.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from barnraise.sections import Section
from barnraise.swarm.addresses import ADDRESSES_MAX, ListenAddress

__all__ = ["SwarmConfig"]

Url = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:_\[\]-]{1,200}/?$")]


class SwarmConfig(Section):
    """The coordinator's host in the swarm.

    Attributes:
        enabled: run one. Without it nodes have nobody to begin with, unless they are told of each other.
        listen: multiaddresses to listen at; port 0 lets the system choose.
        announce: where others reach it, if that is not where it listens.
        gateways: URLs that the beacon names, the best first; by default gateway.public_url, else where it listens.
    """

    enabled: bool = False
    listen: Annotated[tuple[ListenAddress, ...], Field(min_length=1, max_length=ADDRESSES_MAX)] = (
        "/ip4/127.0.0.1/tcp/0",
    )
    announce: Annotated[tuple[ListenAddress, ...], Field(max_length=ADDRESSES_MAX)] = ()
    gateways: Annotated[tuple[Url, ...], Field(max_length=8)] = ()

    @model_validator(mode="after")
    def _is_used(self) -> SwarmConfig:
        ignored = sorted(self.model_fields_set - {"enabled"})
        if ignored and not self.enabled:
            raise ValueError(f"{', '.join(ignored)} would be ignored: set enabled = true, or leave the section out")
        return self
