"""A part of ``peers``: words that members of a team leave for each other in the open DHT. It cannot read them.

leave   put a word at a place, under a name
found   words at a place, from anybody
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from functools import partial
from typing import Any

from hivemind.utils import get_dht_time

from barnraise.errors import SwarmError
from barnraise.swarm.sidecar.host import Host
from barnraise.swarm.sidecar.service import Command
from barnraise.swarm.team_meeting import HOLDS_MS, WORD_MAX_BYTES

__all__ = ["Meeting"]

DHT_S = 20.0
WORDS_MAX = 64


class Meeting:
    """The part ``meeting``."""

    def __init__(self) -> None:
        self._host: Host | None = None

    async def start(self, host: Host, settings: Mapping[str, Any]) -> None:
        self._host = host

    def commands(self) -> Mapping[str, Command]:
        return {"leave": self._leave, "found": self._found}

    async def stop(self) -> None:
        self._host = None

    async def _leave(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """``place``, ``name`` and ``word`` (base64)."""
        word = base64.b64decode(str(arguments["word"]), validate=True)
        if len(word) > WORD_MAX_BYTES:
            raise SwarmError(f"a word has at most {WORD_MAX_BYTES:,} bytes, this one {len(word):,}")
        ends_s = get_dht_time() + HOLDS_MS / 1000
        store = partial(self._dht.store, str(arguments["place"]), word, ends_s, subkey=str(arguments["name"]))
        return {"left": bool(await asyncio.wait_for(asyncio.to_thread(store), DHT_S))}

    async def _found(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of ``place``: words, in base64, of at most 64 names."""
        get = partial(self._dht.get, str(arguments["place"]), latest=True)
        record = await asyncio.wait_for(asyncio.to_thread(get), DHT_S)
        if record is None or not isinstance(record.value, dict):
            return {"words": []}
        said = [getattr(one, "value", None) for one in list(record.value.values())[:WORDS_MAX]]
        good = [one for one in said if isinstance(one, bytes) and len(one) <= WORD_MAX_BYTES]
        return {"words": [base64.b64encode(one).decode("ascii") for one in good]}

    @property
    def _dht(self) -> Any:
        assert self._host is not None, "asked before it was started"
        return self._host.dht
