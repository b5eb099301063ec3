"""How many bits does a top-k update cost, beside the entropy bound and beside other encodings?

    python benchmarks/update_size.py [--quick] [--write]

Inputs: i.i.d. normal values, where the bound is known, in a large space where the header
vanishes; and real updates of the standard-library model: four contributors with their own
shards, inner AdamW, error feedback, both directions compressed, at several ages of the run; and a
fine-tune of the model that came out. Everything counts: header, offsets, positions, scales,
levels. Also: what contexts would save that the codec does not use, and what the second level is
worth. Peers in the same run: 12-bit positions and 2-bit values (SparseLoCo's layout, computed),
zstandard over the sparse float32 vector.

The i.i.d. bound of k in 4,096 is ``log2(C(4096, k)) / k`` bits an entry for positions, and 1 for
the sign; "2-bit levels" adds 1 more. ``--write`` leaves a dated file in results/.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray
from report import arguments, finish, heading
from settings import TOPK_256
from torch import Tensor

from barnraise.config import RunConfig, load_run_config
from barnraise.corpus import Corpus
from barnraise.digest import digest_bytes
from barnraise.update_config import CodecConfig
from barnraise.updates import ParameterSpace, TensorSpec, Turn, write_update
from contributor.tasks.byte_lm import ByteLMTask
from contributor.training.trainer import Trainer, Unit
from merge.architectures import build, flat_of, space_of
from merge.compress import compress

KS = (4, 16, 41, 64, 128, 256)
UP, DOWN = 64, 256
STEPS, FINE_TUNE_STEPS = 12, 40
CHUNK = 4096
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """What a contributor would compress, and what both sides know.

    Attributes:
        target_P: change plus residual. base_P: what it starts from.
        other_P: another contributor's target. patch_P: the last release's change; zeros if there is none.
    """

    name: str
    target_P: Vector
    base_P: Vector
    other_P: Vector
    patch_P: Vector


# -- inputs --------------------------------------------------------------------------------


def trained(config: RunConfig, space: ParameterSpace, base_P: Vector, text: bytes, seed: int, steps: int) -> Vector:
    """The change that some inner steps make."""
    training = config.training.model_copy(update={"steps": steps})
    trainer = Trainer(Unit(ByteLMTask(config.model, text), space, base_P, training, seed), torch.device("cpu"))
    while not trainer.done:
        trainer.step()
    return trainer.trained() - base_P


def decoded(target_P: Vector, space: ParameterSpace, k: int) -> Vector:
    return compress(torch.from_numpy(target_P), space, CodecConfig(name="topk", k=k))[1].numpy()


def real_samples(ages: tuple[int, ...]) -> Iterator[Sample]:
    """A run's targets after these numbers of rounds, and those of a fine-tune of where it ends."""
    config = load_run_config(TOPK_256)
    module = build(config.model)
    space, base_P = space_of(module), flat_of(module, space_of(module))
    corpus = Corpus.of(config.data)
    texts = [corpus.text(shard, "train") for shard in config.data.shards]
    residuals = [np.zeros_like(base_P) for _ in texts]
    left_P, patch_P = np.zeros_like(base_P), np.zeros_like(base_P)
    for number in range(1, max(ages) + 1):
        targets = [
            trained(config, space, base_P, text, 100 * number + who, STEPS) + residuals[who]
            for who, text in enumerate(texts)
        ]
        if number in ages:
            yield Sample(f"round {number}", targets[0], base_P, targets[1], patch_P)
        sent = [decoded(target, space, UP) for target in targets]
        residuals = [target - said for target, said in zip(targets, sent, strict=True)]
        total_P = np.mean(sent, axis=0, dtype=np.float32) + left_P
        patch_P = decoded(total_P, space, DOWN)
        left_P, base_P = total_P - patch_P, base_P + patch_P
        print(f"round {number}", file=sys.stderr, flush=True)
    tuned, other = (trained(config, space, base_P, texts[0], seed, FINE_TUNE_STEPS) for seed in (1, 2))
    yield Sample("fine-tune", tuned, base_P, other, np.zeros_like(base_P))


def random_sample(chunks: int) -> tuple[ParameterSpace, Tensor]:
    space = ParameterSpace.of([TensorSpec("w", (chunks, CHUNK))])
    return space, torch.randn(space.size, generator=torch.Generator().manual_seed(1))


# -- figures -------------------------------------------------------------------------------


def position_bits(k: int) -> float:
    """The i.i.d. bound for positions, bits an entry."""
    return (math.lgamma(CHUNK + 1) - math.lgamma(k + 1) - math.lgamma(CHUNK - k + 1)) / math.log(2) / k


def file_of(target_P: Tensor, space: ParameterSpace, codec: CodecConfig) -> tuple[int, Tensor]:
    """Size of the whole file, and what it decodes to."""
    segments, decoded_P = compress(target_P, space, codec)
    return len(write_update(space, digest_bytes(b"base"), codec, segments, role="update")), decoded_P


def table(target_P: Tensor, space: ParameterSpace) -> list[str]:
    """Sizes from 1/1024 to 1/16."""
    lines = ["| k of 4,096 | bits a parameter | bits an entry | i.i.d. bound, one level | i.i.d. bound, 2-bit levels |"]
    lines[0] += " 12 + 2 bits | zstd of the sparse float32, bits a parameter |"
    lines.append("|---|---|---|---|---|---|---|")
    for k in KS:
        size, decoded_P = file_of(target_P, space, CodecConfig(name="topk", k=k))
        entries = int((decoded_P != 0).sum())
        zstd = 8 * len(zstandard.compress(decoded_P[: 1 << 22].numpy().tobytes(), 9)) / min(space.size, 1 << 22)
        bounds = f"{position_bits(k) + 1:.3f} | {position_bits(k) + 2:.3f}"
        lines.append(f"| {k} | {8 * size / space.size:.4f} | {8 * size / entries:.3f} | {bounds} | 14 | {zstd:.4f} |")
    return lines


def blockwise(target_P: Tensor, space: ParameterSpace) -> list[str]:
    lines = []
    for bits in (8, 4, 2, 1):
        size, decoded_P = file_of(target_P, space, CodecConfig(name="blockwise", bits=bits))
        error = float((target_P - decoded_P).norm() / target_P.norm())
        lines.append(
            f"Blockwise {bits} bits: {8 * size / space.size:.4f} bits a parameter, relative error {error:.4f}."
        )
    return lines


def in_turn(target_P: Tensor, space: ParameterSpace) -> list[str]:
    """What few bytes say of one target: the largest elements, all of them, or those that have their turn."""
    found: list[tuple[str, int, Tensor]] = []
    for name, codec in (
        (f"top-k {UP}", CodecConfig(name="topk", k=UP)),
        (f"top-k {DOWN}", CodecConfig(name="topk", k=DOWN)),
        ("all signs", CodecConfig(name="blockwise", bits=1)),
    ):
        found.append((name, *file_of(target_P, space, codec)))
    for turns, bits, name in ((8, 1, "signs of one in 8"), (8, 4, "4 bits of one in 8"), (64, 1, "signs of one in 64")):
        turn, codec = Turn(space, turns, 0), CodecConfig(name="blockwise", bits=bits)
        carried = turn.cut(target_P.numpy())
        segments, decoded_Q = compress(torch.from_numpy(carried), turn.space, codec)
        decoded_P = np.zeros(space.size, dtype=np.float32)
        turn.put(decoded_Q.numpy(), decoded_P)
        data = write_update(space, digest_bytes(b"base"), codec, segments, role="update", carrier=turn)
        found.append((name, len(data), torch.from_numpy(decoded_P)))
    lines = ["| said | bits a parameter | fewer bytes than float32 | of the target's energy |", "|---|---|---|---|"]
    whole = float(target_P.double().square().sum())
    for name, size, said_P in found:
        left = float((target_P.double() - said_P.double()).square().sum()) / whole
        lines.append(
            f"| {name} | {8 * size / space.size:.4f} | {4 * space.size / size:.0f}x | {100 * (1 - left):.1f}% |"
        )
    return lines


def support_of(target_P: Vector, space: ParameterSpace, k: int) -> NDArray[np.bool_]:
    return decoded(target_P, space, k) != 0


def bits_given(chosen_P: NDArray[np.bool_], classes_P: NDArray[np.int64]) -> float:
    """Entropy of positions, bits an entry, if both sides know the class of every element: no model cost at all."""
    _, inverse = np.unique(classes_P, return_inverse=True)
    sizes, counts = np.bincount(inverse), np.bincount(inverse, weights=chosen_P)
    total = 0.0
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        total += math.lgamma(size + 1) - math.lgamma(count + 1) - math.lgamma(size - count + 1)
    return total / math.log(2) / max(int(chosen_P.sum()), 1)


def context_row(sample: Sample, space: ParameterSpace) -> str:
    chosen_P = support_of(sample.target_P, space, UP)
    segments_P = 1000 * np.repeat(
        np.arange(space.segment_count),
        [end - start for start, end in map(space.segment_range, range(space.segment_count))],
    )
    exponents_P = (sample.base_P.view(np.uint32) >> 23 & 255).astype(np.int64)
    other_P = support_of(sample.other_P, space, UP).astype(np.int64)
    patch_P = (sample.patch_P != 0).astype(np.int64)
    size, _ = file_of(torch.from_numpy(sample.target_P), space, CodecConfig(name="topk", k=UP))
    whole = 8 * size / int(chosen_P.sum())
    given = [bits_given(chosen_P, segments_P + context) for context in (exponents_P, other_P, patch_P)]
    return (
        f"| {sample.name} | {whole:.2f} | {position_bits(UP):.2f} | "
        + " | ".join(f"{bits:.2f}" for bits in given)
        + " |"
    )


def level_row(sample: Sample, space: ParameterSpace, k: int) -> str:
    """What is left out of a target with the best one level a chunk, with two, and with exact values."""
    chosen_P = support_of(sample.target_P, space, k)
    sizes_P, whole = (
        np.abs(sample.target_P.astype(np.float64)),
        float(np.square(sample.target_P, dtype=np.float64).sum()),
    )
    chunks_N = np.repeat(np.arange(space.chunk_count), np.diff(space.chunk_starts))[chosen_P]
    means_C = np.bincount(chunks_N, weights=sizes_P[chosen_P], minlength=space.chunk_count)
    means_C /= np.maximum(np.bincount(chunks_N, minlength=space.chunk_count), 1)
    relative_N, energy_N = sizes_P[chosen_P] / means_C[chunks_N], np.square(means_C)[chunks_N]
    border, low, high = 1.0, 1.0, 1.0
    for _ in range(20):
        low, high = relative_N[relative_N <= border].mean(), relative_N[relative_N > border].mean()
        border = (low + high) / 2
    share = float((relative_N > border).mean())
    bits = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    exact = whole - float(np.square(sizes_P[chosen_P]).sum())
    one = exact + float((np.square(relative_N - 1) * energy_N).sum())
    two = exact + float((np.square(relative_N - np.where(relative_N > border, high, low)) * energy_N).sum())
    more = support_of(sample.target_P, space, round(k * (position_bits(k) + 1 + bits) / (position_bits(k) + 1)))
    left = whole - float(np.square(sizes_P[more]).sum()) + (one - exact) * more.sum() / chosen_P.sum()
    cells = " | ".join(f"{100 * energy / whole:.3f}%" for energy in (exact, two, one, left))
    return f"| {sample.name} | {k} | {bits:.2f} | {cells} |"


# -- the report ----------------------------------------------------------------------------


def sections(samples: list[Sample], space: ParameterSpace, chunks: int) -> list[str]:
    large, random_P = random_sample(chunks)
    lines = [f"## i.i.d. normal values, {large.size:,} parameters", "", *table(random_P, large), ""]
    lines += [*blockwise(random_P, large), "", *in_turn(random_P, large), ""]
    small_P = random_P[: space.size]
    size, decoded_P = file_of(small_P, space, CodecConfig(name="topk", k=UP))
    lines += [
        f"The same in the model's {space.size:,} parameters, k = {UP}: {8 * size / space.size:.4f} bits a parameter,"
    ]
    lines += [f"{8 * size / int((decoded_P != 0).sum()):.3f} an entry.", ""]
    for sample in samples:
        real_P = torch.from_numpy(sample.target_P)
        lines += [f"## A real update: {sample.name}", "", *table(real_P, space), "", *in_turn(real_P, space), ""]
    lines += [
        f"## What contexts would give, k = {UP}",
        "",
        "Bits an entry: the whole file of ours; then positions alone,",
    ]
    lines += ["i.i.d. and as if both sides knew a class of every element for nothing.", ""]
    lines += ["| update | ours, everything | i.i.d. | base's exponent | another's support | last patch's support |"]
    lines += ["|---|---|---|---|---|---|", *(context_row(sample, space) for sample in samples), ""]
    lines += [
        "## Is the second level worth its bits?",
        "",
        "Energy of the target that is left out. The last column spends",
    ]
    lines += ["the bits of the second level on more entries with one level.", ""]
    lines += ["| update | k | bits of the level | exact values | two levels | one level | one level, more entries |"]
    lines += ["|---|---|---|---|---|---|---|"]
    return [*lines, *(level_row(sample, space, k) for sample in samples for k in (64, 256)), ""]


def main() -> None:
    chosen = arguments(__doc__, quick="two rounds, and a small random space").parse_args()
    torch.set_num_threads(1)
    text = heading("Bits of an update", "torch", "numpy", "zstandard")
    samples = list(real_samples((1, 2) if chosen.quick else (1, 5, 10, 20)))
    space = space_of(build(load_run_config(TOPK_256).model))
    text += [f"Whole files, everything included. Real updates: {space.size:,} parameters, four contributors,"]
    text += [f"{STEPS} steps a round, {UP} of 4,096 up and {DOWN} down.", ""]
    text += sections(samples, space, 761 if chosen.quick else 6081)
    finish("update_size", text, write=chosen.write)


if __name__ == "__main__":
    main()
