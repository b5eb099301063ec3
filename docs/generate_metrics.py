"""Write docs/metrics.md: every metric of a coordinator and of a volunteer's node, from their catalogues.

python docs/generate_metrics.py           writes the page
python docs/generate_metrics.py --check   says whether it is up to date
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from barnraise.metric import Metric
from contributor.tally import CATALOGUE as NODE
from coordinator.metrics.catalogue import CATALOGUE as COORDINATOR

PAGE = Path(__file__).with_name("metrics.md")

HEAD = """\
# Metrics

<!-- Written by docs/generate_metrics.py. Change that, or the catalogues, and run it again. -->

What Prometheus finds at `/metrics`. How to run it, with alerts and dashboards, is in
[operations.md](operations.md#monitor).

Where a number comes from says how long it lasts. What comes from the **ledger** is added up from all events of the run,
so it goes on where it was after a restart, and on another machine after `barnraise restore`. What the **process**
counts begins at 0 when it starts, as Prometheus expects of counters. **folder** and **conductor** are how things are
now: sizes, files, and what the conductor wrote down some seconds ago.

There never are more series than said, whatever strangers do: no label holds a key, a name of a contributor, a digest or
a sentence. Names of tests, channels and targets are the operator's; from the 65th on they are `other`.
"""

NODE_HEAD = """\

## A volunteer's node

`barnraise join URL --metrics PORT` serves them at `http://127.0.0.1:PORT/metrics`, for its owner only. They are counted
from the start of the process.
"""


SOURCES = ("ledger", "folder", "conductor", "process", "node")


def listed(metrics: Sequence[Metric]) -> str:
    """The metrics, by where they come from."""
    parts = []
    for source in SOURCES:
        here = [metric for metric in metrics if metric.source == source]
        if here:
            parts.append(f"\nFrom the **{source}**:\n\n" + "".join(_line(metric) for metric in here))
    return "".join(parts)


def _line(metric: Metric) -> str:
    labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
    series = f", {metric.at_most} series at most" if metric.labels else ""
    text = f"- `{metric.name}{labels}` ({metric.kind}{series}): {metric.meaning}"
    return "\n".join(textwrap.wrap(text, 120, subsequent_indent="  ", break_on_hyphens=False)) + "\n"


def render() -> str:
    """The whole page."""
    return f"{HEAD}\n## A coordinator\n{listed(COORDINATOR)}{NODE_HEAD}{listed(NODE)}"


def main(arguments: list[str]) -> int:
    text = render()
    if "--check" in arguments:
        if PAGE.read_text(encoding="ascii") == text:
            return 0
        print("docs/metrics.md is out of date; run: python docs/generate_metrics.py")
        return 1
    PAGE.write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
