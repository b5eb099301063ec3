"""How many bits a parameter does an update cost, beside the entropy bound and beside other encodings?

    python benchmarks/update_size.py [--write]

Two inputs: i.i.d. normal values, where the bound is known, and a real update of the standard-
library model (a few AdamW steps on one shard). Peers in the same run: top-k with 12-bit
indices and 2-bit values (SparseLoCo's layout, computed), zstandard over the sparse float32
vector, zstandard over the dense one. ``--write`` leaves a dated file in results/.

Bound: log2 of the number of k-subsets of 4,096, plus 2 bits an entry, over 4,096.
"""

from __future__ import annotations

import argparse
import datetime
import math
import platform
from pathlib import Path

import numpy as np
import torch
import zstandard

from barnraise.config import CodecConfig, bundled_config, load_run_config
from barnraise.corpus import Corpus
from barnraise.digest import digest_bytes
from barnraise.updates import write_update
from barnraise.updates.space import ParameterSpace
from merge.architectures import build, flat_of, space_of
from merge.compress import compress

STEPS = 6
KS = (4, 16, 41, 64, 128, 256)


def bound(k: int) -> float:
    """Bits a parameter of an i.i.d. support of ``k`` in 4,096 with 2-bit values."""
    subsets = math.lgamma(4097) - math.lgamma(k + 1) - math.lgamma(4097 - k)
    return (subsets / math.log(2) + 2 * k) / 4096


def real_update() -> tuple[torch.Tensor, ParameterSpace]:
    """A few AdamW steps of the shipped model on one shard: float32 [P], and its space."""
    config = load_run_config(bundled_config("stdlib-lm"))
    module = build(config.model)
    space = space_of(module)
    before = flat_of(module, space)
    text = np.frombuffer(Corpus.of(config.data).text("text", "train"), dtype=np.uint8)
    draws = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(module.parameters(), lr=config.training.learning_rate, weight_decay=0.0)
    width = config.model.context + 1
    for _ in range(STEPS):
        starts = draws.integers(0, len(text) - width, config.training.batch)
        loss = module.loss(torch.from_numpy(np.stack([text[at : at + width] for at in starts])))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return torch.from_numpy(flat_of(module, space) - before), space


def rows(target_P: torch.Tensor, space: ParameterSpace) -> list[str]:
    """The table of one input."""
    lines = ["| k of 4,096 | ours, whole file | bound (i.i.d.) | 12 + 2 bits an entry | zstd of the sparse float32 |"]
    lines.append("|---|---|---|---|---|")
    size, base = space.size, digest_bytes(b"base")
    for k in KS:
        codec = CodecConfig(name="topk", k=k)
        segments, decoded_P = compress(target_P, space, codec)
        ours = 8 * len(write_update(space, base, codec, segments, role="update")) / size
        zstd = 8 * len(zstandard.compress(decoded_P.numpy().tobytes(), 9)) / size
        lines.append(f"| {k} | {ours:.4f} | {bound(k):.4f} | {14 * k / 4096:.4f} | {zstd:.4f} |")
    dense = 8 * len(zstandard.compress(target_P.numpy().tobytes(), 9)) / size
    lines.append(f"\nDense float32: 32 bits a parameter; zstd of it: {dense:.2f}.")
    for bits in (8, 4, 2):
        codec = CodecConfig(name="blockwise", bits=bits)
        segments, decoded_P = compress(target_P, space, codec)
        ours = 8 * len(write_update(space, base, codec, segments, role="update")) / size
        error = float((target_P - decoded_P).norm() / target_P.norm())
        lines.append(f"Blockwise {bits} bits: {ours:.4f} bits a parameter, relative error {error:.4f}.")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help="leave a dated file in benchmarks/results/")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    update_P, space = real_update()
    random_P = torch.from_numpy(np.random.default_rng(1).standard_normal(len(update_P)).astype(np.float32))
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = [f"# Bits a parameter of an update, {today}", ""]
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    text += [f"{versions}, {platform.machine()}; {len(update_P):,} parameters.", ""]
    text += ["## i.i.d. normal values", "", *rows(random_P, space), ""]
    text += [f"## A real update: {STEPS} AdamW steps from the initial weights", "", *rows(update_P, space), ""]
    print("\n".join(text))
    if chosen.write:
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        (results / f"update_size-{today}.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
