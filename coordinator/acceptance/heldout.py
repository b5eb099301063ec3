"""The acceptance data of a run: windows of held-out text, drawn once and pinned by digest.

They are drawn when a run is made and never again, so a release years later is judged on the
same bytes, on whatever Python the coordinator then runs. The windows for the cheap check of
single updates are others than the suite's: passing the one says nothing by design about
the other. None of them leaves the coordinator.

N  windows
T  context of the model, in bytes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from barnraise.config import RunConfig
from barnraise.corpora import Source
from barnraise.digest import digest_bytes
from barnraise.errors import AcceptanceError
from coordinator.acceptance.examples import Windows

__all__ = ["HeldOut", "domains_of_check", "draw_windows"]

CHECK = "check"
SHARD = "shard/"


@dataclass(frozen=True)
class HeldOut:
    """The windows of a run.

    Attributes:
        windows: shard -> uint8 [N, T + 1], for tests and probes. One that draws none reads the first
            ``examples`` of its shard; any number from the front is spread over all its text.
        check: uint8 [N, T + 1], from all shards in turn, for the check of single updates.
    """

    windows: Mapping[str, Windows]
    check: Windows

    @classmethod
    def draw(cls, corpus: Source, config: RunConfig) -> HeldOut:
        """Draw what the suite, the probes and the check of ``config`` need from the held-out files.

        Raises:
            AcceptanceError: a shard has too little held-out text.
            ConfigValueError: a shard has none.
        """
        width = config.model.example_bytes
        shards = sorted(config.data.shards)  # in whatever order a file has them, it is the same configuration
        wanted = dict.fromkeys(shards, 0)
        for _, look in config.looks:
            if look.shard is not None:
                wanted[look.shard] = max(wanted[look.shard], look.at_hand)
        each = -(-config.acceptance.check_at_hand // len(shards))
        drawn = {
            shard: draw_windows(corpus.text(shard, "held-out"), wanted[shard] + each, width, shard) for shard in shards
        }
        check = np.stack([drawn[shard][wanted[shard] :] for shard in shards], axis=1).reshape(-1, width)
        windows = {shard: drawn[shard][:count] for shard, count in wanted.items() if count}
        return cls(windows, check[: config.acceptance.check_at_hand])

    def check_windows(self, examples: int) -> Windows:
        """Windows for the check of single updates, uint8 [examples, T + 1].

        Raises:
            AcceptanceError: fewer were drawn when the run was made.
        """
        if len(self.check) < examples:
            raise AcceptanceError(
                f"the check wants {examples} windows, {len(self.check)} were drawn when the run was made; "
                "lower acceptance.check_pool or check_examples, or start a new run"
            )
        return self.check[:examples]

    def serialise(self) -> bytes:
        """One safetensors file; the same windows give the same bytes."""
        named = {SHARD + shard: np.ascontiguousarray(windows) for shard, windows in self.windows.items()}
        return save({CHECK: np.ascontiguousarray(self.check), **named})

    @classmethod
    def parse(cls, data: bytes, digest: str) -> HeldOut:
        """Read what :meth:`serialise` wrote.

        Raises:
            AcceptanceError: not the bytes that ``digest`` names, or no held-out windows in them.
        """
        found = digest_bytes(data)
        if found != digest:
            raise AcceptanceError(f"the acceptance data is {found}, the run was made with {digest}; restore that blob")
        try:
            arrays = load(data)
        except SafetensorError as error:
            raise AcceptanceError(f"the acceptance data {digest} is not a safetensors file") from error
        check = arrays.pop(CHECK, None)
        if check is None or check.ndim != 2 or check.shape[1] < 2 or check.dtype != np.uint8:
            raise AcceptanceError(f"the acceptance data {digest} has no windows for the check of updates")
        for name, windows in arrays.items():
            if not name.startswith(SHARD) or windows.dtype != np.uint8 or windows.shape[1:] != check.shape[1:]:
                raise AcceptanceError(
                    f"the acceptance data {digest}: array {ascii(name)[:48]} is {windows.dtype} {windows.shape}, "
                    f"expected uint8 (N, {check.shape[1]}) named {SHARD}NAME"
                )
        return cls({name.removeprefix(SHARD): windows for name, windows in sorted(arrays.items())}, check)


def domains_of_check(config: RunConfig, count: int) -> list[str]:
    """Of which shard the first ``count`` windows for the check of single updates are."""
    shards = sorted(config.data.shards)
    return [shards[place % len(shards)] for place in range(count)]


def draw_windows(text: bytes, count: int, width: int, shard: str) -> Windows:
    """``count`` windows of ``width`` bytes that do not overlap, spread evenly over ``text``.

    Overlapping windows would count the same bytes twice as evidence. Their order is that of a
    digest, so that any number of them from the front is spread over the text as well.

    Returns:
        uint8 [count, width].

    Raises:
        AcceptanceError: the text is too short.
    """
    slots = len(text) // width
    if slots < count:
        raise AcceptanceError(
            f"shard {shard!r} has {len(text):,} bytes held out, {slots} examples of {width}; {count} are needed. "
            "Raise data.held_out_percent, give the shard more data, or lower the examples of its tests"
        )
    cut = np.frombuffer(text, dtype=np.uint8)[: slots * width].reshape(slots, width)
    picked = [index * slots // count for index in range(count)]
    picked.sort(key=lambda slot: digest_bytes(f"{shard}:{slot}".encode()))
    return np.ascontiguousarray(cut[picked])
