"""How many spoiled transfers does a pull accept? The goal is 0 of 10,000.

Every pull goes through a proxy that spoils all transfers of one file, chosen at random among the
metadata, lists, manifests, documents, keyframes and patches that the pull asks for, in one of seven
ways. Afterwards the folder must hold the old release, byte for byte, or the new one, byte for byte.

    python benchmarks/corruption.py --pulls 10000 --seed 1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from spoiling import Outcome, SpoiledPulls


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pulls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="where to work; a RAM disk makes it quicker")
    chosen = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        pulls = SpoiledPulls(Path(folder), chosen.seed)
        while pulls.outcome.pulls < chosen.pulls:
            pulls.one()
            if pulls.outcome.pulls % 500 == 0:
                print(f"{pulls.outcome.pulls:,} pulls, {len(pulls.outcome.accepted)} accepted", file=sys.stderr)
    print("\n".join(report(pulls.outcome, chosen.seed, time.monotonic() - began)))
    return 1 if pulls.outcome.accepted else 0


def report(outcome: Outcome, seed: int, seconds: float) -> list[str]:
    """Markdown."""
    kinds, hows = Counter[str](), Counter[str]()
    for (kind, how), count in outcome.spoiled.items():
        kinds[kind] += count
        hows[how] += count
    refused = ", ".join(f"{count:,} {name}" for name, count in outcome.refused.most_common())
    harmless = ", ".join(f"{count:,} {kind} {how}" for (kind, how), count in outcome.harmless.most_common())
    return [
        "| what | pulls |",
        "|---|---:|",
        f"| with a spoiled transfer | {outcome.pulls:,} |",
        f"| **accepted: something else than the release installed, or the old one touched** "
        f"| **{len(outcome.accepted):,}** |",
        f"| refused, the folder as it was | {sum(outcome.refused.values()):,} |",
        f"| the release installed all the same, byte for byte | {sum(outcome.harmless.values()):,} |",
        "",
        f"Refused with: {refused}.",
        f"Harmless: {harmless or 'none'}.",
        f"Spoiled files: {', '.join(f'{count:,} {kind}' for kind, count in kinds.most_common())}.",
        f"Ways: {', '.join(f'{count:,} {how}' for how, count in hows.most_common())}.",
        f"Seed {seed}, {seconds:,.0f} s.",
        *outcome.accepted[:20],
    ]


if __name__ == "__main__":
    sys.exit(main())
