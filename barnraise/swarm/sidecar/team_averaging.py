"""One average by hivemind's DecentralizedAverager: a vector from a file, the mean of the group's into another.

Each average has an averager of its own, a process whose name in the network nobody outside the team can tell, so
members in different rounds, or with another shape, never meet. It stays for a while when it is done: somebody may
still be fetching from it.

No compression: hivemind 1.1.12's 8-bit codecs break silently with numpy 2.4.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hivemind import DHT
from hivemind.compression import NoCompression

from barnraise.errors import SwarmError
from barnraise.swarm.sidecar.faults import translated
from barnraise.swarm.sidecar.team_access import TeamAverager, opened, sealed
from barnraise.team_messages import MEMBERS_MAX

__all__ = ["Job", "average"]

READY_S = 20.0
FIND_S = 20.0
JOIN_S = 3.0
REQUEST_S = 2.0
CHUNK_S = 10.0
LINGER_S = 20.0


@dataclass(frozen=True, slots=True)
class Job:
    """What to average.

    Attributes:
        prefix: name of the averager in the network.
        vector, result: files of float32 in the machine's order. weight: of this vector.
        said: what all members of the group get to read. words: the secret that seals it.
        limit_s: for moving the vectors, once the group is found.
    """

    prefix: str
    vector: Path
    result: Path
    weight: float
    said: bytes
    words: bytes
    limit_s: float


async def average(dht: DHT, job: Job) -> tuple[list[str], Coroutine[Any, Any, None]]:
    """Average once.

    Returns:
        what the members of the group said, this one among them, and what must be awaited to end the averager.

    Raises:
        SwarmError: no group, or it broke up.
    """
    vector_P = np.fromfile(job.vector, dtype=np.float32)
    averager = _averager(dht, job, torch.from_numpy(vector_P))
    averager.run_in_background(await_ready=False)  # in this thread, whose end would end the child
    try:
        await asyncio.to_thread(averager.wait_until_ready, READY_S)
        peer = averager.peer_id.to_bytes()
        gathered = await asyncio.to_thread(partial(_step, averager, job, sealed(job.said, peer, job.words)))
        with averager.get_tensors() as tensors:
            _write(job.result, tensors[0].numpy())
        return _read(gathered, job.words), _end_later(averager)
    except BaseException:
        await asyncio.to_thread(_end, averager)
        raise


def _averager(dht: DHT, job: Job, vector_P: torch.Tensor) -> TeamAverager:
    averager = TeamAverager(
        [vector_P],
        dht,
        start=False,
        prefix=job.prefix,
        target_group_size=MEMBERS_MAX,
        min_group_size=2,
        min_matchmaking_time=JOIN_S,
        request_timeout=REQUEST_S,
        allreduce_timeout=job.limit_s,
        next_chunk_timeout=CHUNK_S,
        compression=NoCompression(),
        allow_state_sharing=False,
    )
    averager.words = job.words
    return averager


def _step(averager: TeamAverager, job: Job, given: dict[str, bytes]) -> Any:
    """One step; what was gathered, by peer."""
    with translated("averaging broke off"):
        step = averager.step(gather=given, weight=job.weight, timeout=FIND_S, allow_retries=False, wait=False)
        gathered = step.result(timeout=FIND_S + job.limit_s)
    if not isinstance(gathered, dict):
        raise SwarmError(f"no group of two members came together within {FIND_S:.0f} s")
    return gathered


def _read(gathered: dict[Any, Any], words: bytes) -> list[str]:
    """What each member said.

    Raises:
        SwarmError: somebody in the group is no member.
    """
    said = [opened(given, peer.to_bytes(), words) for peer, given in gathered.items()]
    if any(one is None for one in said):
        raise SwarmError("somebody in the group is no member of the team; nothing of it is used")
    return [one.decode("utf-8", errors="replace") for one in said if one is not None]


def _write(path: Path, vector_P: np.ndarray[Any, Any]) -> None:
    with path.open("wb") as file:
        vector_P.tofile(file)
        file.flush()
        os.fsync(file.fileno())


async def _end_later(averager: TeamAverager) -> None:
    try:
        await asyncio.sleep(LINGER_S)
    finally:
        await asyncio.to_thread(_end, averager)


def _end(averager: TeamAverager) -> None:
    with suppress(SwarmError), translated("it has died before"):
        averager.shutdown()
