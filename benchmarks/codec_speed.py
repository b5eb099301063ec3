"""How fast are choosing, packing, unpacking, adding and quantising, beside peers and beside the memory?

    python benchmarks/codec_speed.py [--peers PYTHON] [--quick] [--write]

Ways to do one job take turns, so that a disturbance falls on everybody; ratios are medians of
pairs of one turn. "Bound" is a loop that does nothing but touch the memory, compiled for this
machine alone; "plain" are our own implementations without the compiled loops. What adding packed
updates costs depends on where their entries lie: at random; in uneven chunks, whose rows differ in
scale, so that they are coded in pieces; and where a real update of the standard-library model
has them, in pieces too. hivemind runs in the environment of ``--peers``. ``--write`` leaves a
dated file in results/.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peer import Peer
from report import arguments, finish, heading
from torch import Tensor
from turns import Job, Timings, ratio, take_turns, walls
from update_size import real_samples

from barnraise import native
from barnraise.digest import digest_bytes
from barnraise.update_config import CodecConfig
from barnraise.updates import (
    ParameterSpace,
    TensorSpec,
    Update,
    add_all_scaled,
    add_decoded,
    apply_update,
    decode_whole,
    write_update,
)
from barnraise.updates.codec import kept_per_chunk
from merge.compress import compress, compress_in_place
from merge.compress.topk import select

BASE = digest_bytes(b"base")
CHUNK, UPDATES = 4096, 16
RANDOM, UNEVEN, REAL = "packed, at random", "packed, uneven chunks", "packed, as in a real update"
MEDIUM, LARGE = 6081, 30380  # chunks: 24.9M and 124.4M elements
BOUND = r"""
#include <stdint.h>
void add(float *out, const uint16_t **places, const float **values, const float *factors, int count, long chunks, int k,
         int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long chunk = 0; chunk < chunks; chunk++) {
        float *part = out + chunk * 4096;
        for (int u = 0; u < count; u++) {
            const uint16_t *at = places[u] + chunk * k;
            const float *value = values[u] + chunk * k;
            for (int i = 0; i < k; i++) part[at[i]] += factors[u] * value[i];
        }
    }
}
"""

Seconds = dict[str, list[float]]


def table(what: str, timings: Timings, reference: str) -> list[str]:
    """Lines with medians, fastest runs, time of processors, and how jobs compare with ``reference``."""
    lines = [f"| {what} | ms | fastest | processor ms | times {reference} | in processor time |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, taken in timings.items():
        wall, busy = 1e3 * statistics.median(walls(taken)), 1e3 * min(busy for _, busy in taken)
        ratios = f"{ratio(timings, name, reference):.2f} | {ratio(timings, name, reference, busy=True):.2f}"
        lines.append(f"| {name} | {wall:.0f} | {1e3 * min(walls(taken)):.0f} | {busy:.0f} | {ratios} |")
    return [*lines, ""]


def on_threads(count: int, job: Job) -> Job:
    """``job`` with so many threads of ours and of torch."""

    def run() -> object:
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = str(count)
        torch.set_num_threads(count)
        try:
            return job()
        finally:
            os.environ.pop("OMP_NUM_THREADS")
            if before is not None:
                os.environ["OMP_NUM_THREADS"] = before
            torch.set_num_threads(native.threads())  # of all that follow: only now as many as before

    return run


def space_of(chunks: int) -> ParameterSpace:
    return ParameterSpace.of([TensorSpec("w", (chunks, CHUNK))])


def values_of(chunks: int) -> Tensor:
    """float32 [P], heavy tailed, each chunk with a scale of its own."""
    draws = torch.Generator().manual_seed(0)
    values = torch.randn(chunks, CHUNK, generator=draws)
    values *= torch.rand(chunks, 1, generator=draws) * 1e-3
    return values.view(-1)


def packed(values_P: Tensor, space: ParameterSpace, k: int) -> bytes:
    codec = CodecConfig(name="topk", k=k)
    return write_update(space, BASE, codec, compress(values_P, space, codec)[0], role="update")


def parsed(data: bytes, space: ParameterSpace) -> Update:
    return Update.parse(data, space, base_digest=BASE)


# -- choosing ------------------------------------------------------------------------------


def tiled_threshold(values_P: Tensor, k: int, tile: int = 1 << 18) -> Tensor:
    """Positions above a threshold estimated from a sample: not exact, not chunk-wise; a peer for speed only."""
    sample = values_P[7 :: max(1, len(values_P) >> 20)].abs()
    wanted = max(1, len(sample) * k // CHUNK)
    threshold = torch.kthvalue(sample, len(sample) - wanted + 1).values
    sizes, above, found = torch.empty(tile), torch.empty(tile, dtype=torch.bool), []
    for start in range(0, len(values_P), tile):
        part = values_P[start : start + tile]
        torch.abs(part, out=sizes[: len(part)])
        torch.ge(sizes[: len(part)], threshold, out=above[: len(part)])
        found.append(torch.nonzero(above[: len(part)]).view(-1) + start)
    return torch.cat(found)


def choosing(chunks: int, repeats: int, k: int = 64) -> list[str]:
    values_P = values_of(chunks)
    starts_C = space_of(chunks).chunk_starts
    kept_C = kept_per_chunk(starts_C, k)
    rows = values_P.view(chunks, CHUNK)
    jobs: dict[str, Job] = {
        "ours": lambda: native.codec.select(values_P.numpy(), starts_C, kept_C),
        "ours, one thread": on_threads(1, lambda: native.codec.select(values_P.numpy(), starts_C, kept_C)),
        "torch.topk of chunks": lambda: torch.topk(rows.abs(), k, dim=1, sorted=False),
        "sampled threshold, tiled (not exact)": lambda: tiled_threshold(values_P, k),
        "plain read (torch.sum)": lambda: values_P.sum(),
    }
    timings = take_turns(jobs, repeats)
    found = native.codec.select(values_P.numpy(), starts_C, kept_C)
    plain = select(values_P[: 256 * CHUNK], starts_C[:257], kept_C[:256])
    assert found is not None
    assert (found[0][: 256 * k] == plain.places_N).all(), "the compiled choice is not the plain one"
    return table(f"choose {k} of {CHUNK} of {chunks * CHUNK / 1e6:.0f}M", timings, "ours")


# -- packing -------------------------------------------------------------------------------


def packing(chunks: int, repeats: int, k: int = 64) -> list[str]:
    space, values_P = space_of(chunks), values_of(chunks)
    data = packed(values_P, space, k)
    update = parsed(data, space)
    base_P, out_P = values_P.numpy().copy(), np.empty(space.size, dtype=np.float32)
    codec = CodecConfig(name="topk", k=k)
    given_P = values_P.numpy().copy()  # as a node gives it: what is left out stays in its place, and is packed next
    jobs: dict[str, Job] = {
        "pack": lambda: write_update(space, BASE, codec, compress_in_place(given_P, space, codec), role="update"),
        "unpack": lambda: decode_whole(parsed(data, space)),
        "unpack, one thread": on_threads(1, lambda: decode_whole(parsed(data, space))),
        "apply to a base": lambda: apply_update(base_P, update, out=out_P),
        "copy the base": lambda: np.copyto(out_P, base_P),
    }
    timings = take_turns(jobs, repeats)
    rate = 4e-9 * space.size / statistics.median(walls(timings["apply to a base"]))
    lines = table(f"{k} of {CHUNK} of {space.size / 1e6:.0f}M, {len(data) / 1e6:.1f} MB", timings, "unpack")
    entries = int(kept_per_chunk(space.chunk_starts, k).sum())
    each = 1e9 * min(walls(timings["unpack, one thread"])) / entries
    return [*lines, f"Applying: {rate:.1f} GB/s of weights. Unpacking: {each:.0f} ns an entry and thread.", ""]


# -- adding --------------------------------------------------------------------------------


def bound_library(folder: str) -> ctypes.CDLL | None:
    source, target = Path(folder) / "bound.c", Path(folder) / "bound.so"
    source.write_text(BOUND)
    command = ["cc", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", str(source), "-o", str(target)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return ctypes.CDLL(str(target))


def dense_mean(change: Tensor, out_P: Tensor) -> None:
    """A mean of 16 dense changes; one of them is read 16 times, to fit into memory."""
    for _ in range(UPDATES):
        out_P.add_(change, alpha=1 / UPDATES)


def real_values_of(chunks: int) -> Tensor:
    """float32 [P]: what a contributor of the standard-library run says in round 3, again and again."""
    (sample,) = itertools.islice(real_samples((3,)), 1)
    rows = torch.from_numpy(sample.target_P)[: len(sample.target_P) // CHUNK * CHUNK].view(-1, CHUNK)
    return rows.repeat(-(-chunks // len(rows)), 1)[:chunks].reshape(-1)


def adding(chunks: int, repeats: int, k: int = 41) -> list[str]:
    space = space_of(chunks)
    values_P = values_of(chunks)
    inputs = {  # each of the updates is turned by another number of elements
        RANDOM: (values_P, CHUNK),
        UNEVEN: (values_P, 7919),  # a chunk has parts of two rows
        REAL: (real_values_of(chunks), CHUNK),
    }
    sent = {
        name: [parsed(packed(said_P.roll(shift * number), space, k), space) for number in range(UPDATES)]
        for name, (said_P, shift) in inputs.items()
    }
    decoded = [decode_whole(update) for update in sent[RANDOM]]
    factors = [1 / UPDATES] * UPDATES
    out_P = np.zeros(space.size, dtype=np.float32)
    tensor_P = torch.from_numpy(out_P)
    rows = tensor_P.view(chunks, CHUNK)
    places = [torch.from_numpy(one.places_N.astype(np.int64)).view(chunks, k) for one in decoded]
    starts = torch.arange(chunks)[:, None] * CHUNK
    flat = [(part + starts).view(-1) for part in places]
    values = [torch.from_numpy(one.values_N) for one in decoded]

    def index_add() -> None:
        for at, value in zip(flat, values, strict=True):
            tensor_P.index_add_(0, at, value, alpha=1 / UPDATES)

    def scatter_add() -> None:
        for at, value in zip(places, values, strict=True):
            rows.scatter_add_(1, at, value.view(chunks, k))

    jobs: dict[str, Job] = {
        "ours, decoded": lambda: add_decoded(space, decoded, factors, out_P),
        **{f"ours, {name}": partial(add_all_scaled, updates, factors, out_P) for name, updates in sent.items()},
        "index_add_": index_add,
        "scatter_add_ of chunks": scatter_add,
        "dense mean of 16": lambda: dense_mean(values_P, tensor_P),
        f"ours, {RANDOM}, one thread": on_threads(1, lambda: add_all_scaled(sent[RANDOM], factors, out_P)),
        "dense mean, one thread": on_threads(1, lambda: dense_mean(values_P, tensor_P)),
    }
    with tempfile.TemporaryDirectory() as folder:
        loaded = bound_library(folder)
        if loaded is not None:
            jobs["bound"] = bound_job(loaded, decoded, out_P, chunks, k)
        timings = take_turns(jobs, repeats)
    what = f"16 updates of {k} of {CHUNK} into {space.size / 1e6:.0f}M"
    lines = table(what, timings, "bound" if "bound" in timings else "ours, decoded")
    for name in sent:
        share, busy = (ratio(timings, f"ours, {name}", "dense mean of 16", busy=busy) for busy in (False, True))
        each = 1e9 * min(busy for _, busy in timings[f"ours, {name}"]) / (UPDATES * chunks * k)
        said = f"{name[0].upper()}{name[1:]}: {share:.2f} of the dense mean, {busy:.2f} in processor time"
        lines.append(f"{said}; {each:.1f} ns an entry.")
    alone = ratio(timings, f"ours, {RANDOM}, one thread", "dense mean, one thread")
    return [*lines, f"At random on one thread each: {alone:.2f} of the dense mean.", ""]


def bound_job(loaded: ctypes.CDLL, decoded: list[Any], out_P: NDArray[np.float32], chunks: int, k: int) -> Job:
    places = (ctypes.c_void_p * UPDATES)(*(one.places_N.ctypes.data for one in decoded))
    values = (ctypes.c_void_p * UPDATES)(*(one.values_N.ctypes.data for one in decoded))
    factors = (ctypes.c_float * UPDATES)(*[1 / UPDATES] * UPDATES)
    address = ctypes.c_void_p(out_P.ctypes.data)
    threads = native.threads()
    return lambda: loaded.add(address, places, values, factors, UPDATES, ctypes.c_long(chunks), k, threads)


# -- quantising ----------------------------------------------------------------------------


def quantising(chunks: int, repeats: int, hivemind: Peer | None) -> list[str]:
    space = space_of(chunks)
    values_P = torch.randn(space.size, generator=torch.Generator().manual_seed(0))
    codec = {bits: CodecConfig(name="blockwise", bits=bits) for bits in (8, 4, 2)}
    files = {
        b: write_update(space, BASE, codec[b], compress(values_P, space, codec[b])[0], role="update") for b in codec
    }
    updates = {bits: parsed(data, space) for bits, data in files.items()}
    seconds: Seconds = {f"{what} {bits} bits": [] for what in ("compress", "decode") for bits in codec}
    given_P = np.empty(space.size, dtype=np.float32)
    theirs: dict[str, list[float]] = {"compress": [], "extract": [], "error": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values"
        values_P.numpy().tofile(path)
        for _ in range(repeats):
            for bits in codec:
                given_P[:] = values_P.numpy()
                start = time.perf_counter()
                compress_in_place(given_P, space, codec[bits])
                middle = time.perf_counter()
                for segment in range(space.segment_count):
                    updates[bits].decode(segment)
                seconds[f"compress {bits} bits"].append(middle - start)
                seconds[f"decode {bits} bits"].append(time.perf_counter() - middle)
            if hivemind is not None:
                for name, found in hivemind.ask(values=str(path), size=space.size, threads=native.threads()).items():
                    theirs[name].append(found)
    errors = {b: float((compress(values_P, space, codec[b])[1] - values_P).square().mean().sqrt()) for b in codec}
    lines = [f"| blockwise, {space.size / 1e6:.0f}M normal values | ms | fastest | RMSE |", "|---|---|---|---|"]
    for name, taken in seconds.items():
        error = f"{errors[int(name.split()[1])]:.4f}"
        lines.append(f"| ours, {name} | {1e3 * statistics.median(taken):.0f} | {1e3 * min(taken):.0f} | {error} |")
    if hivemind is None:
        return [*lines, "| hivemind, 8 bits | not measured | - | - |", ""]
    for name in ("compress", "extract"):
        taken = theirs[name]
        lines.append(
            f"| hivemind, {name} 8 bits | {1e3 * statistics.median(taken):.0f} | {1e3 * min(taken):.0f} "
            f"| {theirs['error'][0]:.4f} |"
        )
    pairs = [slow / fast for slow, fast in zip(theirs["compress"], seconds["compress 8 bits"], strict=True)]
    return [*lines, "", f"8 bits: {statistics.median(pairs):.1f}x faster than hivemind.", ""]


def main() -> None:
    chosen = arguments(
        __doc__, quick="a sixteenth of the sizes, three turns", peers="Python of an environment that has hivemind"
    ).parse_args()
    if not native.codec.available():
        sys.exit("the compiled loops are not there; run python -m barnraise.native.build")
    torch.set_num_threads(native.threads())
    repeats, shrink = (3, 16) if chosen.quick else (7, 1)
    hivemind = Peer(chosen.peers, "hivemind_blockwise.py") if chosen.peers else None
    peer = f"hivemind {hivemind.version}" if hivemind is not None else ""
    lines = heading("Speed of the codecs", "torch", "numpy", peer=peer)
    for part in (
        lambda: choosing(MEDIUM // shrink, repeats),
        lambda: choosing(LARGE // shrink, repeats),
        lambda: packing(LARGE // shrink, repeats),
        lambda: adding(LARGE // shrink, repeats),
        lambda: quantising(MEDIUM // shrink, repeats, hivemind),
    ):
        lines += part()
        print("\n".join(lines[-12:]), file=sys.stderr, flush=True)
    if hivemind is not None:
        hivemind.close()
    finish("codec_speed", lines, write=chosen.write)


if __name__ == "__main__":
    main()
