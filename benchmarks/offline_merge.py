"""What does merging checkpoints from disk cost, beside mergekit: processor time, wall time, memory?

    python benchmarks/offline_merge.py [--peers PYTHON] [--quick] [--pairs N] [--ties-pairs N] [--write]

Eight llama-shaped checkpoints of 134M float32 and their base are made in a temporary folder
(about 5 GB, deleted afterwards), and merged by the weighted mean and by TIES at density 0.2,
ours and mergekit in turns. Each merge is a process of its own, as a user starts it: what it
costs includes starting Python and importing torch. Processor time is user plus system of the
process and its children. Memory is the peak of anonymous memory, sampled every 20 ms; the
inputs are mapped files and not in it. ``import torch`` alone is a row of its own. Both results
are compared, so that the work is the same. ``--quick`` uses tiny models and shows only that
it works.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from report import arguments, finish, heading
from safetensors import safe_open
from safetensors.numpy import save_file

PEER = Path(__file__).parent / "peers" / "mergekit_merge.py"
MODELS = 8
SAMPLE_EVERY_S = 0.02


@dataclass(frozen=True)
class Cost:
    """Of one process: processor and wall time in seconds, peak anonymous memory in megabytes."""

    cpu_s: float
    wall_s: float
    anonymous_mb: float


def shapes(quick: bool) -> dict[str, tuple[int, ...]]:
    """A small llama: 12 layers of width 768, or one of width 64."""
    width, layers, inner, words = (64, 1, 128, 512) if quick else (768, 12, 2048, 32000)
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (words, width), "lm_head.weight": (words, width)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        found |= {f"{prefix}self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        found |= {f"{prefix}mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        found[f"{prefix}mlp.down_proj.weight"] = (width, inner)
        found |= {f"{prefix}{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    return found | {"model.norm.weight": (width,)}


def generate(folder: Path, quick: bool) -> int:
    """Base and models below ``folder``; returns the number of parameters of one."""
    wanted = shapes(quick)
    draws = np.random.default_rng(0)
    base = {name: draws.standard_normal(shape, np.float32) * np.float32(0.02) for name, shape in wanted.items()}
    width, inner, words = (
        base["model.norm.weight"].size,
        wanted["model.layers.0.mlp.up_proj.weight"][0],
        len(base["lm_head.weight"]),
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": sum(name.endswith("up_proj.weight") for name in wanted),
        "num_attention_heads": 4 if quick else 12,
        "num_key_value_heads": 4 if quick else 12,
        "vocab_size": words,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }
    for number in range(MODELS + 1):
        place = folder / ("base" if number == 0 else f"m{number}")
        place.mkdir()
        (place / "config.json").write_text(json.dumps(config))
        change = np.float32(0.0 if number == 0 else 0.001)
        tensors = {
            name: base[name] + change * draws.standard_normal(shape, np.float32) for name, shape in wanted.items()
        }
        save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    return sum(value.size for value in base.values())


def measure(command: Sequence[str], folder: Path) -> Cost:
    """Run a command to its end."""
    start_s = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = [0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_EVERY_S):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            found = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")]
            peak[0] = max(peak[0], *found, 0)

    sampler = threading.Thread(target=sample)
    sampler.start()
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - start_s
    done.set()
    sampler.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{told.decode(errors='replace')}")
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, peak[0] / 1000)


def commands(rule: str, peers: str | None, folder: Path) -> dict[str, list[str]]:
    """Who does the merge, and how it is started."""
    models = [str(folder / f"m{number}") for number in range(1, MODELS + 1)]
    ours = [sys.executable, "-m", "barnraise", "merge", "--into", "ours"]
    if rule == "linear":
        found = {"barnraise": [*ours, "--strategy", "mean", "--no-base", *models]}
    else:
        found = {"barnraise": [*ours, "--strategy", "ties", "--option", "density=0.2", "base", *models]}
    if peers is not None:
        base = [] if rule == "linear" else ["--base", str(folder / "base")]
        found["mergekit"] = [peers, str(PEER.resolve()), rule, "theirs", *base, *models]
    return found


def in_turns(rule: str, peers: str | None, folder: Path, pairs: int) -> dict[str, list[Cost]]:
    """Every merge ``pairs`` times, one after the other."""
    costs: dict[str, list[Cost]] = {}
    for _ in range(pairs):
        for who, command in commands(rule, peers, folder).items():
            shutil.rmtree(folder / ("ours" if who == "barnraise" else "theirs"), ignore_errors=True)
            costs.setdefault(who, []).append(measure(command, folder))
            print(f"{rule} {who} {costs[who][-1]}", file=sys.stderr, flush=True)
    return costs


def agreement(folder: Path) -> str:
    """How far our last result is from mergekit's."""
    differing = elements = 0
    largest = 0.0
    theirs = next((folder / "theirs").glob("*.safetensors"))
    with safe_open(folder / "ours" / "model.safetensors", "np") as one, safe_open(theirs, "np") as other:
        for name in list(one.keys()):
            apart = np.abs(one.get_tensor(name) - other.get_tensor(name))
            elements += apart.size
            differing += int((apart > 1e-6).sum())
            largest = max(largest, float(apart.max(initial=0.0)))
    return f"{differing:,} of {elements:,} elements are more than 1e-6 from mergekit's, the farthest {largest:.2g}"


def rows(rule: str, costs: dict[str, list[Cost]]) -> list[str]:
    """Lines of the table: medians, and the least processor time in brackets."""
    lines = []
    for who, found in costs.items():
        cpu = statistics.median(cost.cpu_s for cost in found)
        wall = statistics.median(cost.wall_s for cost in found)
        memory = statistics.median(cost.anonymous_mb for cost in found)
        least = min(cost.cpu_s for cost in found)
        lines.append(f"| {rule} | {who} | {cpu:.2f} ({least:.2f}) | {wall:.1f} | {memory:.0f} | {len(found)} |")
    if len(costs) == 2:
        ours, theirs = costs["barnraise"], costs["mergekit"]
        ratios = [other.cpu_s / one.cpu_s for one, other in zip(ours, theirs, strict=True)]
        least = min(cost.cpu_s for cost in theirs) / min(cost.cpu_s for cost in ours)
        lines.append(f"| {rule} | ratio | {statistics.median(ratios):.2f} ({least:.2f}) | | | |")
    return lines


def main() -> None:
    parser = arguments(
        __doc__,
        quick="tiny models: shows that it works, and nothing else",
        peers="Python with mergekit installed; without it mergekit is not measured",
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--ties-pairs", type=int, default=5, help="mergekit's TIES takes minutes each time")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    chosen = parser.parse_args()
    text = heading("Merging checkpoints from disk", peer=peer_versions(chosen.peers))
    table = [
        "| merge | who | processor s, median (least) | wall s | anonymous MB | runs |",
        "|---|---|---|---|---|---|",
    ]
    notes = [] if chosen.peers else ["mergekit: not measured, no --peers was given."]
    with tempfile.TemporaryDirectory(prefix="barnraise-offline-", dir=chosen.folder) as temporary:
        folder = Path(temporary)
        parameters = generate(folder, chosen.quick)
        alone = [measure([sys.executable, "-c", "import torch"], folder) for _ in range(chosen.pairs)]
        table += rows("import torch", {"alone": alone})
        for rule, pairs in (("linear", chosen.pairs), ("ties", chosen.ties_pairs)):
            table += rows(rule, in_turns(rule, chosen.peers, folder, pairs))
            if chosen.peers:
                notes.append(f"{rule}: {agreement(folder)}.")
    text += [f"{MODELS} models of {parameters:,} float32 and a base.", "", *table, "", *notes]
    finish("offline_merge", text, write=chosen.write)


def peer_versions(python: str | None) -> str:
    if python is None:
        return "no peer"
    return subprocess.run([python, str(PEER), "--version"], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
