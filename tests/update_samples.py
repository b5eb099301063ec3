"""Small spaces, changes and update files for the tests of updates and of compressing."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.errors import UpdateError
from barnraise.update_config import CodecConfig
from barnraise.updates import Carrier, ParameterSpace, TensorSpec, Update, add_scaled, apply_update, write_update
from merge.compress import compress

BASE = digest_bytes(b"some base")
CODECS = (
    CodecConfig(name="dense"),
    CodecConfig(name="blockwise", bits=8),
    CodecConfig(name="blockwise", bits=4),
    CodecConfig(name="blockwise", bits=2),
    CodecConfig(name="blockwise", bits=1),
    CodecConfig(name="topk", k=1),
    CodecConfig(name="topk", k=64),
    CodecConfig(name="topk", k=2048),
)
# Full chunks, short chunks, and more than one segment.
SMALL = ParameterSpace.of([TensorSpec("w", (70, 60)), TensorSpec("b", (5,)), TensorSpec("scalar", ())])
SHORT_CHUNKS = ParameterSpace.of(TensorSpec(f"t{i:03}", (1 + i % 3,)) for i in range(300))
SPACES = (SMALL, SHORT_CHUNKS)


def codec_id(codec: CodecConfig) -> str:
    return {"dense": "dense", "blockwise": f"blockwise-{codec.bits}", "topk": f"topk-{codec.k}"}[codec.name]


def random_change(space: ParameterSpace, seed: int = 0, scale: float = 1e-3) -> NDArray[np.float32]:
    """float32 [P], heavy tailed as real changes are."""
    return (np.random.default_rng(seed).standard_t(4, size=space.size) * scale).astype(np.float32)


def changes(space: ParameterSpace) -> st.SearchStrategy[NDArray[np.float32]]:
    """float32 [P]: any finite values, many of them equal or zero, subnormal or huge."""
    odd = st.sampled_from([0.0, -0.0, 1e-45, -1e-39, 1.1754944e-38, 1.0, -1.0, 3.0, 3.4028235e38, -3.4028235e38])
    number = st.one_of(odd, st.floats(width=32, allow_nan=False, allow_infinity=False))
    return hnp.arrays(np.float32, space.size, elements=number, fill=odd)


def make_file(
    space: ParameterSpace, codec: CodecConfig, change_P: NDArray[np.float32], carrier: Carrier | None = None
) -> bytes:
    """An update file; with a carrier ``change_P`` is what it carries."""
    segments, _ = compress(torch.from_numpy(change_P), space if carrier is None else carrier.space, codec)
    return write_update(space, BASE, codec, segments, role="update", carrier=carrier)


def content(data: bytes, space: ParameterSpace) -> tuple[object, ...]:
    """All that an update says; raises what parsing and decoding raise."""
    update = Update.parse(data, space, base_digest=None)
    decoded = b"".join(update.decode(index).tobytes() for index in range(space.segment_count))
    scope = None if update.carrier is None else update.carrier.scope
    return update.role, update.base_digest, update.codec, scope, decoded


def edited(data: bytes, said: dict[str, object]) -> bytes:
    """The file with other metadata, None for a key that is left out; its header written canonically."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = {k: v for k, v in (header["__metadata__"] | said).items() if v is not None}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def check_change(update: Update, wanted_P: NDArray[np.float32]) -> None:
    """However an update is read, it says this change of the whole model, bit for bit."""
    update.validate()
    assert update.carrier is not None
    for segment in reversed(range(update.space.segment_count)):
        wanted = wanted_P[slice(*update.space.segment_range(segment))]
        assert update.decode(segment).tobytes() == wanted.tobytes()
        positions, values = update.sparse(segment)
        assert positions.tolist() == update.carrier.positions(segment).tolist()
        assert values.tobytes() == wanted[positions].tobytes()
        sums = np.ones(len(wanted), dtype=np.float32)
        add_scaled(update, segment, 0.3, sums)
        assert sums.tobytes() == (np.float32(1) + np.float32(0.3) * wanted).tobytes()
    base_P = random_change(update.space, 1)
    assert apply_update(base_P, update).tobytes() == (base_P + wanted_P).tobytes()


def check_no_other_byte(data: bytes, said: Callable[[bytes], object], step: int) -> None:
    """A bit is changed in every ``step``-th byte: no such file is read as saying the same."""
    before = said(data)
    for place in range(0, len(data), step):
        mutated = bytearray(data)
        mutated[place] ^= 1 << (place % 8)
        try:
            after = said(bytes(mutated))
        except UpdateError:
            continue
        assert after != before, place
