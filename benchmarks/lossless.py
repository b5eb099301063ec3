"""In how few bytes can a fine-tune be stored beside its parent, bit for bit, and how fast? And a model alone?

    python benchmarks/lossless.py MODELS [--encoder DIR] [--peers PYTHON] [--quick] [--write]

The models are really trained (finetunes.py) and kept in the folder MODELS; what is not there is made
first, which takes half an hour without ``--quick``. Every way gets the same bytes: all tensors
of a model one after the other. Ways take turns; ratios of times are medians over turns. ZipNN runs in
the environment of ``--peers``. "BitX-style" is what the paper describes (XOR with the parent, byte
planes apart, zstandard), written here. The bounds are entropies over the whole model; ours learns
tables for every MiB and skips what did not change, so it may be below them. ``--write`` leaves a dated file
in results/.

Source: BitX, https://arxiv.org/abs/2505.06252; ZipNN, https://arxiv.org/abs/2411.05239
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import zstandard
from finetunes import make_byte_lm, make_encoder
from peer import Peer
from report import arguments, finish, heading
from safetensors.torch import load_file

from barnraise import native
from barnraise.native import lossless as loops
from barnraise.releases.lossless import decode, encode

THEIRS = {"BF16": "bfloat16", "F32": "float32"}
WIDTHS = {"BF16": 2, "F32": 4}
REMARKS = [
    "A fine-tune is named by the base's type where it began, its learning rate and its steps (AdamW, weight decay "
    "0.01, warm-up of a tenth). GB are of the tensors; a processor second is of all threads together.",
    "",
    "git-theta 0.2.0 is not measured here; measured elsewhere on 536 MB: 20 MB/s in, 55 MB/s out.",
    "",
]
Seconds = tuple[float, float]  # on the wall, and of processors


@dataclass(frozen=True)
class Pair:
    """A model as bytes, and its parent."""

    name: str
    dtype: str
    data: bytes
    base: bytes
    tensors: tuple[int, ...]  # bytes of each

    @cached_property
    def words(self) -> np.ndarray:
        return np.frombuffer(self.data, dtype=f"<i{WIDTHS[self.dtype]}")

    @cached_property
    def before(self) -> np.ndarray:
        return np.frombuffer(self.base, dtype=f"<i{WIDTHS[self.dtype]}")


def pair_of(folder: Path, fine_tune: Path, dtype: str) -> Pair:
    base, tuned = load_file(folder / "base.safetensors"), load_file(fine_tune)
    names = sorted(base)
    parts = [[as_bytes(model[name], dtype) for name in names] for model in (tuned, base)]
    sizes = tuple(map(len, parts[0]))
    return Pair(f"{folder.name}, {fine_tune.stem}", dtype, b"".join(parts[0]), b"".join(parts[1]), sizes)


def as_bytes(tensor: torch.Tensor, dtype: str) -> bytes:
    """Rounded to the nearest, as torch does it."""
    words = tensor.bfloat16().view(torch.int16) if dtype == "BF16" else tensor.float().view(torch.int32)
    return words.numpy().tobytes()


# -- bounds --------------------------------------------------------------------------------


def code_differences(pair: Pair) -> np.ndarray:
    """Steps from the parent's float to the model's, int64 [P]."""
    most = (1 << (8 * WIDTHS[pair.dtype] - 1)) - 1
    ordered = [np.where(words < 0, words.astype(np.int64) ^ most, words) for words in (pair.words, pair.before)]
    return ordered[0] - ordered[1]


def entropy(counts: np.ndarray) -> float:
    """Bits of symbols that come so often, at their own frequencies."""
    counts = counts[counts > 0].astype(np.float64)
    return float((counts * np.log2(counts.sum() / counts)).sum())


def bounds(pair: Pair) -> tuple[float, float]:
    """Ratios that differences would have at their entropy, and at their entropy given the parent's exponent."""
    change = code_differences(pair)
    exponents = (pair.before >> (7 if pair.dtype == "BF16" else 23)).astype(np.int64) & 255
    if pair.dtype == "BF16":
        joint = np.bincount((exponents << 17) + change + (1 << 16), minlength=256 << 17).reshape(256, -1)
        alone, both, given = joint.sum(axis=0), joint.reshape(-1), joint.sum(axis=1)
    else:
        alone = np.unique(change, return_counts=True)[1]
        both = np.unique((exponents << 40) + change, return_counts=True)[1]
        given = np.bincount(exponents)
    bits = 8 * len(pair.data)
    return bits / entropy(alone), bits / (entropy(both) - entropy(given))


def changed_share(pair: Pair) -> float:
    return float((pair.words != pair.before).mean())


# -- ways ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How to make a model small, and whole again."""

    encode: Callable[[Pair], bytes | list[bytes]]
    decode: Callable[[Pair, bytes | list[bytes]], bytes | memoryview]


def ours(*, against_base: bool) -> Way:
    return Way(
        lambda pair: encode(pair.data, pair.dtype, pair.base if against_base else None),
        lambda pair, small: decode(small, pair.dtype, len(pair.data), pair.base if against_base else None),
    )


def ours_by_tensor(*, against_base: bool) -> Way:
    """As a store does it: every tensor a file of its own."""

    def parts(pair: Pair) -> list[tuple[memoryview, memoryview | None]]:
        ends = np.cumsum(pair.tensors)
        slices = [slice(end - size, end) for size, end in zip(pair.tensors, ends.tolist(), strict=True)]
        return [(memoryview(pair.data)[at], memoryview(pair.base)[at] if against_base else None) for at in slices]

    def restored(pair: Pair, small: list[bytes]) -> bytes:
        out = np.empty(len(pair.data), dtype=np.uint8)
        at = 0
        for (data, base), one in zip(parts(pair), small, strict=True):
            out[at : at + len(data)] = np.frombuffer(decode(one, pair.dtype, len(data), base), dtype=np.uint8)
            at += len(data)
        return out.data

    return Way(lambda pair: [encode(data, pair.dtype, base) for data, base in parts(pair)], restored)


def planes_of(data: np.ndarray, width: int) -> bytes:
    return np.ascontiguousarray(data.reshape(-1, width).T).tobytes()


def zstd_of(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, threads=native.threads()).compress(data)


def bitx() -> Way:
    def small(pair: Pair) -> bytes:
        change = np.frombuffer(pair.data, dtype=np.uint8) ^ np.frombuffer(pair.base, dtype=np.uint8)
        return zstd_of(planes_of(change, WIDTHS[pair.dtype]))

    def whole(pair: Pair, data: bytes) -> memoryview:
        planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(data), dtype=np.uint8)
        change = np.ascontiguousarray(planes.reshape(WIDTHS[pair.dtype], -1).T).reshape(-1)
        change ^= np.frombuffer(pair.base, dtype=np.uint8)
        return change.data

    return Way(small, whole)


def zigzag() -> Way:
    """Only its size is of interest: the folded code difference by byte planes and zstandard."""

    def small(pair: Pair) -> bytes:
        change = code_differences(pair)
        folded = ((change << 1) ^ (change >> 63)).astype(f"<u{WIDTHS[pair.dtype]}")
        return zstd_of(planes_of(folded.view(np.uint8), WIDTHS[pair.dtype]))

    return Way(small, lambda pair, _: pair.data)


def zstd_alone() -> Way:
    return Way(lambda pair: zstd_of(pair.data), lambda _, small: zstandard.ZstdDecompressor().decompress(small))


def asked(zipnn: Peer, pair: Pair, *, against_base: bool) -> tuple[int, Seconds, Seconds]:
    """What :func:`turn` says, of ZipNN."""
    with tempfile.TemporaryDirectory() as temporary:
        data, base = Path(temporary) / "data", Path(temporary) / "base"
        data.write_bytes(pair.data)
        base.write_bytes(pair.base)
        against = str(base) if against_base else None
        found = zipnn.ask(data=str(data), base=against, dtype=THEIRS[pair.dtype], threads=native.threads())
    if not found["right"]:
        print(f"ZipNN does not give {pair.name} back as it was", file=sys.stderr)
    return found["size"], tuple(found["encode"]), tuple(found["decode"])


# -- measuring -----------------------------------------------------------------------------


def size_of(small: bytes | list[bytes]) -> int:
    return len(small) if isinstance(small, bytes) else sum(map(len, small))


def turn(way: Way, pair: Pair) -> tuple[int, Seconds, Seconds]:
    """Size, and seconds of encoding and decoding once; what comes back is compared."""
    clocks = [(time.perf_counter(), time.process_time())]
    small = way.encode(pair)
    clocks.append((time.perf_counter(), time.process_time()))
    found = way.decode(pair, small)
    clocks.append((time.perf_counter(), time.process_time()))
    assert found is pair.data or memoryview(found).cast("B") == memoryview(pair.data), "it did not come back"
    encoding, decoding = ((b[0] - a[0], b[1] - a[1]) for a, b in pairwise(clocks))
    return size_of(small), encoding, decoding


def speeds(pair: Pair, ways: dict[str, Way], zipnn: Peer | None, repeats: int, *, against_base: bool) -> list[str]:
    """Lines with ratio and speed of every way, in turns."""
    found: dict[str, list[tuple[int, Seconds, Seconds]]] = {name: [] for name in [*ways, "ZipNN"]}
    for repeat in range(-1, repeats):
        for name in found:
            if name == "ZipNN" and zipnn is None:
                continue
            taken = asked(zipnn, pair, against_base=against_base) if name == "ZipNN" else turn(ways[name], pair)
            if repeat >= 0:
                found[name].append(taken)
    what = "against its parent" if against_base else "alone"
    lines = [
        f"| {pair.dtype}, {len(pair.data) / 1e6:.0f} MB, {what} ({pair.name}) | ratio | encode GB/s | decode GB/s "
    ]
    lines[0] += "| GB per processor second | times ours, encode and decode |"
    lines.append("|---|---|---|---|---|---|")
    for name, turns in found.items():
        lines.append(row(name, turns, found["ours"], len(pair.data)))
    return [*lines, ""]


def row(name: str, turns: list, reference: list, size: int) -> str:
    if not turns:
        return f"| {name} | not measured | - | - | - | - |"
    rates, busy, times = [], [], []
    for part in (1, 2):
        walls = [one[part][0] for one in turns]
        rates.append(f"{1e-9 * size / statistics.median(walls):.2f} (best {1e-9 * size / min(walls):.2f})")
        busy.append(f"{1e-9 * size / min(one[part][1] for one in turns):.2f}")
        pairs = zip(turns, reference, strict=True)
        times.append(f"{statistics.median(one[part][0] / other[part][0] for one, other in pairs):.1f}")
    ratio = f"{size / turns[0][0]:.3f}"
    return f"| {name} | {ratio} | {rates[0]} | {rates[1]} | {' and '.join(busy)} | {' and '.join(times)} |"


def ratios(pairs: list[Pair], zipnn: Peer | None) -> list[str]:
    """Lines with the ratio of every fine-tune, which depends on how far it went."""
    lines = ["| fine-tune | type | words changed | ours | by tensor | entropy | given exponent | BitX-style | zigzag "]
    lines[0] += "| ZipNN delta |"
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for pair in pairs:
        found = [turn(way, pair)[0] for way in (ours(against_base=True), ours_by_tensor(against_base=True))]
        small = [f"{len(pair.data) / size:.2f}" for size in found]
        theirs = [f"{len(pair.data) / turn(way, pair)[0]:.2f}" for way in (bitx(), zigzag())]
        theirs.append(f"{len(pair.data) / asked(zipnn, pair, against_base=True)[0]:.2f}" if zipnn else "not measured")
        cells = [pair.name, pair.dtype, f"{changed_share(pair):.3f}", *small]
        cells += [f"{bound:.2f}" for bound in bounds(pair)]
        lines.append("| " + " | ".join(cells + theirs) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return [*lines, ""]


def fine_tunes(folder: Path) -> list[Pair]:
    """bfloat16 for all; float32 for those that began at the base in float32."""
    found = []
    for family in sorted(path for path in folder.iterdir() if (path / "base.safetensors").exists()):
        for path in sorted(family.glob("*-lr*.safetensors")):
            found.append(pair_of(family, path, "BF16"))
            if path.name.startswith("f32"):
                found.append(pair_of(family, path, "F32"))
    return found


def main() -> None:
    parser = arguments(__doc__, quick="a small model and three turns", peers="Python of an environment that has ZipNN")
    parser.add_argument("models", type=Path, help="folder that keeps the trained models")
    parser.add_argument("--encoder", type=Path, help="folder of a pretrained sentence encoder to fine-tune as well")
    parser.add_argument("--as-they-are", action="store_true", help="train nothing; measure the models that are there")
    chosen = parser.parse_args()
    if not loops.available():
        sys.exit("the compiled loops are not there; run python -m barnraise.native.build")
    if not chosen.as_they_are:
        make_byte_lm(chosen.models / ("byte-lm-quick" if chosen.quick else "byte-lm"), quick=chosen.quick)
        if chosen.encoder is not None:
            make_encoder(chosen.models / "encoder", chosen.encoder)
    pairs = fine_tunes(chosen.models)
    zipnn = Peer(chosen.peers, "zipnn_tensors.py") if chosen.peers else None
    peer = f"ZipNN {zipnn.version}" if zipnn is not None else ""
    lines = [*heading("Tensors without loss", "numpy", "zstandard", peer=peer), *REMARKS, *ratios(pairs, zipnn)]
    for dtype in ("BF16", "F32"):
        measured = next((pair for pair in pairs if pair.dtype == dtype and "lr2e-05-50" in pair.name), None)
        measured = measured or next((pair for pair in reversed(pairs) if pair.dtype == dtype), None)
        if measured is None:
            continue
        for against_base in (True, False):
            ways = {
                "ours": ours(against_base=against_base),
                "ours, by tensor": ours_by_tensor(against_base=against_base),
            }
            ways |= {"BitX-style": bitx()} if against_base else {"zstandard alone": zstd_alone()}
            part = speeds(measured, ways, zipnn, 3 if chosen.quick else 5, against_base=against_base)
            print("\n".join(part), file=sys.stderr, flush=True)
            lines += part
    if zipnn is not None:
        zipnn.close()
    finish("lossless", lines, write=chosen.write)


if __name__ == "__main__":
    main()
