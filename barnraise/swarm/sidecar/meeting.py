"""A part of ``peers``: words that members of a team leave for each other in the open DHT. It cannot read them.

leave   put a word at a place, under a name
found   words at a place, from anybody
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from itertools import islice
from typing import Any

from hivemind.utils import get_dht_time

from barnraise.errors import SwarmError
from barnraise.swarm.sidecar.host import Host
from barnraise.swarm.sidecar.service import Command
from barnraise.swarm.team_meeting import HOLDS_MS, WORD_MAX_BYTES

__all__ = ["Meeting"]

WORDS_MAX = 64


class Meeting:
    """The part ``meeting``."""

    async def start(self, host: Host, settings: Mapping[str, Any]) -> None:
        self._host = host

    def commands(self) -> Mapping[str, Command]:
        return {"leave": self._leave, "found": self._found}

    async def stop(self) -> None:
        """Nothing was begun: the host does the work."""

    async def _leave(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """``place``, ``name`` and ``word`` (base64)."""
        word = base64.b64decode(str(arguments["word"]), validate=True)
        if len(word) > WORD_MAX_BYTES:
            raise SwarmError(f"a word has at most {WORD_MAX_BYTES:,} bytes, this one {len(word):,}")
        ends_s = get_dht_time() + HOLDS_MS / 1000
        return {"left": await self._host.store(str(arguments["place"]), str(arguments["name"]), word, ends_s)}

    async def _found(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of ``place``: words, in base64, of at most 64 names."""
        said = islice((await self._host.get(str(arguments["place"]))).values(), WORDS_MAX)
        good = [one for one in said if isinstance(one, bytes) and len(one) <= WORD_MAX_BYTES]
        return {"words": [base64.b64encode(one).decode("ascii") for one in good]}
