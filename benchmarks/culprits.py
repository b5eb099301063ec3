"""How many merges does it take to find the updates that make a round fail?

    python benchmarks/culprits.py [--quick] [--write]

Culprits are planted among K updates: every way to plant them where there are at most 6,000, else
as many drawn ones with a fixed seed. The tests are simulated, so what is counted is merges and
nothing else. Five kinds of round: culprits that are bad alone; pairs that are bad only together;
culprits in a round of which less than a quarter fails by being few; the same with a hint that names
the culprits among others; and with a hint that is wrong.

Peers, in the same run on the same rounds: leaving out one update at a time, which takes K merges
and finds no two culprits; and bisection over prefixes, one culprit after the other (the smallest
prefix without which the rest passes), which takes fewer merges but tests ever smaller rests.
"Found" is the share of rounds in which exactly the planted ones are blamed (one of each pair).

``--write`` leaves a dated file in results/.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from report import arguments, finish, heading

from coordinator.acceptance.blame.culprits import CulpritSearch

SIZES = (1, 2, 3, 5, 8, 16, 33, 64)
CULPRITS = (0, 1, 2, 3, 4)
EXHAUSTIVE, QUICK = 6_000, 300
KINDS = ("alone", "pairs", "few fail", "right hint", "wrong hint")

Updates = tuple[str, ...]
Passes = Callable[[Updates], bool]


@dataclass(frozen=True)
class Round:
    """A round with planted culprits.

    Attributes:
        groups: each is bad together. enough: fewer updates fail whatever they are.
    """

    updates: Updates
    groups: tuple[frozenset[str], ...]
    enough: int = 0
    suspicion: Mapping[str, float] = field(default_factory=dict)

    def passes(self, subset: Updates) -> bool:
        if not subset:
            return True
        return len(subset) >= self.enough and not any(group <= set(subset) for group in self.groups)

    def is_right(self, blamed: set[str]) -> bool:
        return len(blamed) == len(self.groups) and all(len(group & blamed) == 1 for group in self.groups)


@dataclass
class Tally:
    """What rounds of one kind took. Smallest: of the sets that were tested."""

    rounds: int = 0
    right: int = 0
    merges: int = 0
    most: int = 0
    smallest: int = 1 << 30

    def add(self, merges: int, smallest: int, *, right: bool) -> None:
        self.rounds += 1
        self.right += right
        self.merges += merges
        self.most = max(self.most, merges)
        self.smallest = min(self.smallest, smallest)


# -- the searches ---------------------------------------------------------------------------


def ours(told: Round) -> tuple[set[str], list[int]]:
    search = CulpritSearch(told.updates, suspicion=told.suspicion)
    while (subset := search.next_subset()) is not None:
        search.record(subset, told.passes(subset))
    return set(search.result()), [len(trial.subset) for trial in search.trials]


def one_left_out(told: Round) -> tuple[set[str], list[int]]:
    rests = {update: tuple(other for other in told.updates if other != update) for update in told.updates}
    return {update for update, rest in rests.items() if told.passes(rest)}, [len(rest) for rest in rests.values()]


def prefixes(told: Round) -> tuple[set[str], list[int]]:
    blamed: list[str] = []
    sizes: list[int] = []
    left = told.updates

    def fails_without(count: int) -> bool:
        gone = {*blamed, *left[:count]}
        rest = tuple(update for update in told.updates if update not in gone)
        if rest:
            sizes.append(len(rest))
        return not told.passes(rest)

    while (not blamed and left) or (left and fails_without(0)):
        low, high = 0, len(left)  # fails without the first ``low``, passes without the first ``high``
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fails_without(middle) else (low, middle)
        blamed.append(left[high - 1])
        left = left[: high - 1]
    return set(blamed), sizes


# -- the rounds -----------------------------------------------------------------------------


def planted(count: int, culprits: int, limit: int) -> Iterator[Updates]:
    """Ways to plant culprits."""
    updates = names(count)
    if math.comb(count, culprits) <= limit:
        yield from itertools.combinations(updates, culprits)
        return
    chance = random.Random(f"{count} {culprits}")
    for _ in range(limit):
        yield tuple(chance.sample(updates, culprits))


def rounds(kind: str, count: int, culprits: int, limit: int) -> Iterator[Round]:
    updates, chance = names(count), random.Random(f"{kind} {count} {culprits}")
    if kind == "pairs":
        for _ in range(min(limit, 2000) if 2 * culprits <= count else 0):
            drawn = chance.sample(updates, 2 * culprits)
            yield Round(updates, tuple(frozenset(pair) for pair in zip(drawn[::2], drawn[1::2], strict=True)))
        return
    for bad in planted(count, culprits, limit if kind == "alone" else min(limit, 2000)):
        groups = tuple(frozenset((update,)) for update in bad)
        enough = -(-count // 4) if kind == "few fail" else 0
        yield Round(updates, groups, enough, hint(kind, updates, bad, chance))


def hint(kind: str, updates: Updates, bad: Updates, chance: random.Random) -> dict[str, float]:
    """Right: the culprits and as many others are suspected. Wrong: a few others are, by far the most."""
    others = [update for update in updates if update not in bad]
    if kind == "right hint":
        return dict.fromkeys((*bad, *chance.sample(others, min(len(bad), len(others)))), 1.0)
    if kind == "wrong hint":
        return {update: chance.random() ** 8 * (update in others or 1e-3) for update in updates}
    return {}


def names(count: int) -> Updates:
    return tuple(f"b3:{index:04x}" for index in range(count))


# -- the tables -----------------------------------------------------------------------------


def measure(kind: str, count: int, culprits: int, limit: int) -> dict[str, Tally]:
    searches = {"ours": ours, "prefixes": prefixes, "one left out": one_left_out}
    tallies = {name: Tally() for name in searches}
    for told in rounds(kind, count, culprits, limit):
        for name, search in searches.items():
            blamed, sizes = search(told)
            tallies[name].add(len(sizes), min(sizes, default=count), right=told.is_right(blamed))
    return tallies


def by_chance(count: int) -> str:
    """Merges for a round that failed by chance alone: no culprit, every subset passes."""
    search = CulpritSearch(names(count))
    while (subset := search.next_subset()) is not None:
        search.record(subset, True)
    return f"| chance | {count} | 0 | 1 | - | {len(search.trials)} | {len(search.trials)} | - | - | - | - | - |"


def table(limit: int) -> list[str]:
    header = "rounds | K | f | drawn | bound | most | mean | smallest | found | prefixes: mean | smallest | found"
    lines = [f"| {header} |", "|---" * len(header.split("|")) + "|"]
    lines += [by_chance(count) for count in SIZES]
    for kind, culprits, count in itertools.product(KINDS, CULPRITS[1:], SIZES):
        if culprits > count:
            continue
        tallies = measure(kind, count, culprits, limit)
        mine, other = tallies["ours"], tallies["prefixes"]
        if mine.rounds == 0:
            continue
        bound = 2 * culprits * math.ceil(math.log2(count))
        cells = (kind, count, culprits, mine.rounds, bound, _over(mine.most, bound), f"{mine.merges / mine.rounds:.1f}")
        peer = (f"{other.merges / other.rounds:.1f}", other.smallest, f"{other.right / other.rounds:.0%}")
        row = (*cells, mine.smallest, f"{mine.right / mine.rounds:.0%}", *peer)
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return lines


def _over(most: int, bound: int) -> str:
    return str(most) if most <= bound else f"**{most}**"


def left_out_table(limit: int) -> list[str]:
    lines = ["| K | f | merges | found, one left out |", "|---|---|---|---|"]
    for culprits, count in itertools.product(CULPRITS[1:], (8, 64)):
        found = measure("alone", count, culprits, min(limit, QUICK))["one left out"]
        lines.append(f"| {count} | {culprits} | {found.most} | {found.right / found.rounds:.0%} |")
    return lines


def main() -> None:
    chosen = arguments(__doc__, quick="a few rounds of each kind").parse_args()
    limit = QUICK if chosen.quick else EXHAUSTIVE
    lines = [
        *heading("Finding culprits"),
        f"Counts of merges, which no machine changes. Every way to plant culprits where there are at most {limit:,}, "
        "else so many drawn ones; of the kinds with a hint, of pairs and of rounds that fail by being few at most "
        "2,000.",
        "",
        "Bound: 2 f ceil(log2 K). A number above it is bold. Smallest: of the sets that were merged and tested.",
        "f culprits alone, or f pairs. Few fail: fewer than a quarter of the round fail whatever they are.",
        "",
        *table(limit),
        "",
        *left_out_table(limit),
    ]
    finish("culprits", lines, write=chosen.write)


if __name__ == "__main__":
    main()
