"""Are free riders, copies and updates tuned to the public shard recognised, and who is called so wrongly?

    python -m benchmarks.freeriders [--quick] [--write]

Really trained updates of a small byte model (benchmarks/planted.py), in early and late rounds, with two codecs
and several seeds. Every planted update is judged in a round of the eight honest ones and itself; honest ones are
judged with those who train on the same shard. Counted is who gets which label.

    honest, twin           trained on a shard; a twin on one that another trains on, with other batches
    zero, tiny, noise      nothing; a fiftieth of a training; random numbers as long as an honest update
    echo                   the difference of the last release, sent back
    copy, scaled, flipped  another's update of this round: as it is, times 0.4, times -1
    noisy copy             the same with noise of 0.3 or 1 times its length
    tuned, tuned hard      trained on the 64 public windows, as long as the others or five times as long
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from benchmarks.planted import CODECS, KINDS, Plantation, PlantedRound, scale_of
from benchmarks.report import arguments, finish, heading
from coordinator.acceptance.updates.compared import Compared
from coordinator.acceptance.updates.contribution import score_update
from coordinator.acceptance.updates.recognise import Entry, recognise
from coordinator.acceptance.updates.recognition import Recognised

__all__ = ["EXPECTED", "Counts", "judge_round", "main", "tally"]

EXPECTED = {
    "zero": "free-rider",
    "tiny": "free-rider",
    "noise": "free-rider",
    "echo": "copy",
    "copy": "copy",
    "scaled": "copy",
    "flipped": "copy",
    "noisy copy 0.3": "copy",
    "noisy copy 1": "copy",
    "tuned": "tuned",
    "tuned hard": "tuned",
}
LABELS = ("honest", "unclear", "free-rider", "tuned", "copy")
Counts = Mapping[str, Counter[str]]


def judge_round(planted: PlantedRound) -> list[tuple[str, Recognised]]:
    """What is recognised of every update of a round, each among the honest ones."""
    kinds = [update.kind for update in planted.updates]
    honest = [index for index, kind in enumerate(kinds) if kind == "honest"]
    twins = [index for index, kind in enumerate(kinds) if kind == "twin"]
    found = [(kinds[index], recognised) for index, recognised in _judge(planted, [*honest, *twins]).items()]
    for index, kind in enumerate(kinds):
        if kind not in ("honest", "twin"):
            found.append((kind, _judge(planted, [*honest, index])[index]))
    return found


def _judge(planted: PlantedRound, members: Sequence[int]) -> dict[int, Recognised]:
    """A round of ``members``, received in their order, after the release whose patch is the last row."""
    entries = []
    for received, member in enumerate(members):
        update = planted.updates[member]
        score = score_update(update.hidden, update.own, update.public)
        entries.append(Entry(str(member), received, score, Compared("", update.hidden, update.public)))
    places = np.array([*members, len(planted.updates)])
    found = recognise(entries, planted.gram_KK[np.ix_(places, places)], ["0.1.0"])
    return {int(digest): recognised for digest, recognised in found.items()}


def tally(rounds: Sequence[PlantedRound]) -> Counts:
    """Kind -> how often each label was given."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for planted in rounds:
        for kind, recognised in judge_round(planted):
            counts[kind][recognised.label] += 1
    return counts


def table(counts: Counts) -> list[str]:
    """Markdown."""
    lines = [f"| planted | times | {' | '.join(LABELS)} | right |", "|---|---:|" + "---:|" * (len(LABELS) + 1)]
    for kind in KINDS:
        given = counts[kind]
        right = given[EXPECTED[kind]] if kind in EXPECTED else given["honest"] + given["unclear"]
        cells = " | ".join(str(given[label] or "") for label in LABELS)
        lines.append(f"| {kind} | {given.total()} | {cells} | {right / max(given.total(), 1):.0%} |")
    return lines


def main() -> None:
    chosen = arguments(__doc__, quick="one seed, two rounds and a smaller model").parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    seeds, planted = (1, {1, 4}) if chosen.quick else (2, {1, 4, 8, 12, 16})
    scale = scale_of(quick=chosen.quick)
    lines = heading("Free riders, copies and tuned updates", "torch", "numpy")
    lines += [
        f"Model: width {scale.model.dim}, {scale.model.layers} layers; {scale.steps} steps of {scale.batch} windows; "
        f"rounds {', '.join(str(number + 1) for number in sorted(planted))} of {seeds} seed(s).",
        "64 hidden, 64 public and 32 own windows an update.",
    ]
    for name, codec in CODECS.items():
        rounds = [r for seed in range(seeds) for r in Plantation(codec, seed, scale).rounds(max(planted) + 1, planted)]
        lines += ["", f"## {name}", "", *table(tally(rounds))]
    lines += ["", f"{time.process_time() - began:.0f} s of one core."]
    finish("freeriders", lines, write=chosen.write)


if __name__ == "__main__":
    main()
