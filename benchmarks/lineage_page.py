"""How long does the page of a family take? The goal is under a second for 1,000 models.

    python benchmarks/lineage_page.py --write

A made-up family: a trunk of releases, and models that come from a release or from one another. Measured are the
drawing (coordinator/web/layered.py), the SVG, and the whole page through the application, of a ledger with all of it.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from report import arguments, finish, heading
from turns import seconds

from coordinator.ledger.order_events import ModelDerived
from coordinator.web.family_svg import family_svg
from coordinator.web.pages.lineage import Choice, Kin, family_of

REPEATS = 5
TRUNK = 0.6  # share of the models that are releases; the seeded run's page has some more derived ones


def family(count: int, seed: int) -> list[Kin]:
    """``count`` models, each of which comes from an earlier one."""
    draws, releases, made = random.Random(seed), ["0.0.0"], [Kin("0.0.0", "release", None, "MIT", "passed", 0, "/")]
    for number in range(1, count):
        if draws.random() < TRUNK:
            label, parent, relation = f"0.0.{number}", releases[-1], "release"
            releases.append(label)
        else:
            label, parent, relation = f"child-{number} 1.0.0", draws.choice(made).label, "fine-tune"
        made.append(Kin(label, relation, parent, "MIT", "passed", number, "/"))
    return made


def page_bytes(count: int) -> tuple[float, int]:
    """Median processor seconds of the whole page of a run with 40 releases and ``count`` derived models."""
    from seeded_run import seeded_run
    from web_pages import Pages

    with tempfile.TemporaryDirectory() as folder:
        os.environ["BARNRAISE_TESTS_SHARED"] = folder
        run = seeded_run(Path(folder) / "run")
        draws, name = random.Random(1), run.state().config.name
        there = [(name, row.version) for row in run.ledger.releases()]
        for number in range(count):
            parent = draws.choice(there)
            digest = f"b3:{number:064x}"
            there.append((f"child-{number}", "1.0.0"))
            run.ledger.record(
                ModelDerived(f"child-{number}", "1.0.0", digest, digest, 1000, *parent, "imported"), at_ms=number
            )
        pages = Pages(run.state())
        sizes: list[int] = []
        taken = [seconds(lambda: sizes.append(len(pages.get("/lineage").body))) for _ in range(REPEATS)]
        run.ledger.close()
        return statistics.median(busy for _, busy in taken), sizes[-1]


def main() -> None:
    chosen = arguments(__doc__).parse_args()
    lines = heading("The page of a family", "jinja2", "fastapi")
    lines += ["| models | drawing, s | with its SVG, s | layers |", "|---:|---:|---:|---:|"]
    for count in (100, 1000, 2000):
        everybody = family(count, seed=count)
        shown = family_of(everybody, Choice())
        drawn = statistics.median(seconds(partial(family_of, everybody, Choice()))[1] for _ in range(REPEATS))
        both = drawn + statistics.median(seconds(partial(family_svg, shown))[1] for _ in range(REPEATS))
        lines.append(f"| {count:,} | {drawn:.3f} | {both:.3f} | {shown.drawn.layers} |")
    whole, size_bytes = page_bytes(960)
    lines += [
        "",
        f"The whole page of a run with 40 releases and 960 models made from them, ledger and template included: "
        f"{whole:.3f} s, {size_bytes:,} bytes before compression. Medians of {REPEATS}, processor seconds.",
    ]
    finish("lineage_page", lines, write=chosen.write)


if __name__ == "__main__":
    main()
