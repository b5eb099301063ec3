"""What does a scrape of a long ledger cost?

    python benchmarks/metrics_scrape.py [--quick] [--write] [--events 100000]

A ledger of rounds of four updates, recorded by the ledger's own code with events as large as a real run's. A scrape
takes in what is new since the last one; beside it a full fold, as the first scrape after a restart has to make it, and
the sums that a database can compute from its tables instead (which are fewer numbers).
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from report import arguments, finish, heading
from turns import seconds

from barnraise.run_folder import RunFolder
from coordinator.ledger import Ledger
from coordinator.ledger.events import (
    ChannelMoved,
    ContributorSeen,
    Event,
    LeaseGranted,
    ReleaseTagged,
    RoundMerged,
    RoundMoved,
    RoundOpened,
    RoundTested,
    RunCreated,
    UpdateChecked,
    UpdateMerged,
    UpdateReceived,
)
from coordinator.metrics import GatewayMetrics
from coordinator.metrics.exporter import LedgerReader

START_MS = 1_700_000_000_000
UPDATES = 4
SEGMENTS = 12
REPEATS = 9


def digest(number: int) -> str:
    return f"b3:{number:064x}"


def beginning() -> list[Event]:
    keyframe = {"digest": digest(1), "size_bytes": 12_000_000}
    first = ReleaseTagged("0.1.0", None, digest(0), digest(0), 0, "first", "", keyframe, None, None, START_MS)
    created = RunCreated("toy", digest(0), {}, "0" * 64, digest(0))
    who = [ContributorSeen(f"{number:064x}", "somebody") for number in range(UPDATES)]
    return [created, first, ChannelMoved("nightly", None, "0.1.0"), *who]


def one_round(number: int) -> list[Event]:
    """What a round leaves: about 29 events, 20 kB of JSON."""
    base, names = f"0.1.{number - 1}", [digest(number * 100 + index) for index in range(UPDATES)]
    events: list[Event] = [RoundOpened(number, base, digest(number))]
    for index, name in enumerate(names):
        lease, who = f"{number * 100 + index:032x}", f"{index:064x}"
        body = {"nonce": f"{number * 100 + index + (1 << 100):032x}", "at_ms": START_MS, "loss_first": 8.0}
        events += [
            LeaseGranted(lease, who, number, base, digest(number), "text", lease, START_MS, START_MS + 60_000),
            UpdateReceived(name, who, lease, number, digest(number), 180_000, 24_576, 12, {"body": body}),
            UpdateChecked(name, number, [0.1] * SEGMENTS, "alone it does no harm", {"change": -0.1}),
        ]
    state = {"number": number, "checked": names, "merge_set": names, "suite_failures": 0}
    record = {
        "updates": [{"digest": name, "weight": 1.0, "clip": 1.0, "share": 0.25} for name in names],
        "conflicts": {
            "overall": {"cosine": 0.4, "overlap": 0.2, "expected_overlap": 0.06, "opposed": 0.3},
            "tensors": [{"name": f"layer.{row}", "cosine": 0.1, "overlap": 0.1, "opposed": 0.4} for row in range(40)],
        },
    }
    row = {"mean": 4.2, "effect": -0.1, "low": -0.2, "high": 0.0, "p": 0.001, "passed": True, "unit": "bits per byte"}
    tests = {f"loss-{name}": row for name in ("text", "tools", "system", "concurrency")}
    patch = {"digest": digest(number), "size_bytes": 150_000}
    version = f"0.1.{number}"
    events += [
        RoundMoved(number, "merging", "4 updates checked", state),
        RoundMerged(number, "4 updates by mean", record, 900),
        RoundMoved(number, "testing", "merged 4 updates", state),
        RoundTested(number, True, "all are non-inferior", tests, {}, digest(2), 1900),
        RoundMoved(number, "testing", "all are non-inferior", state),
        ReleaseTagged(
            version, base, digest(number), digest(3), number, "patch", "ok", None, patch, None, START_MS, tests
        ),
        *(UpdateMerged(name, number, version, 0.25) for name in names),
        ChannelMoved("nightly", base, version),
        RoundMoved(number, "released", f"tagged {version}", state),
    ]
    return events


def fill(ledger: Ledger, events: int) -> int:
    """Record rounds until there are so many events; the next round's number."""
    ledger.record(*beginning(), at_ms=START_MS)
    number, held = 1, list[Event]()
    while ledger.last_seq() + len(held) < events:
        held += one_round(number)
        number += 1
        if len(held) > 5000:
            ledger.record(*held, at_ms=START_MS + number * 60_000)
            held = []
    ledger.record(*held, at_ms=START_MS + number * 60_000)
    return number


def whole_fold(ledger: Ledger) -> None:
    reader = LedgerReader(ledger, tick_s=lambda: 0.0)  # a clock that stands still lets it finish
    found, _ = reader.read(START_MS)
    assert found.of("barnraise_ledger_events_total") == {(): ledger.last_seq()}


def main() -> None:
    parser = arguments(__doc__, quick="2,000 events: shows that it works")
    parser.add_argument("--events", type=int, default=100_000)
    chosen = parser.parse_args()
    page = heading("What a scrape costs", "prometheus_client", "SQLAlchemy")
    with tempfile.TemporaryDirectory(prefix="barnraise-metrics-") as temporary:
        folder = RunFolder(Path(temporary))
        folder.create()
        ledger = Ledger.open(folder.ledger)
        number = fill(ledger, 2_000 if chosen.quick else chosen.events)
        ours = GatewayMetrics(ledger, folder, lambda: START_MS)
        while b"barnraise_ledger_unread_events 0.0" not in ours.render():
            pass
        rows: dict[str, list[float]] = {name: [] for name in ("idle", "round", "sums", "whole")}
        for repeat in range(REPEATS):
            rows["idle"].append(seconds(ours.render)[0])
            ledger.record(*one_round(number + repeat), at_ms=START_MS)
            rows["round"].append(seconds(ours.render)[0])
            rows["sums"].append(seconds(ledger.pages.tally)[0])
            if repeat < 3:
                rows["whole"].append(seconds(lambda: whole_fold(ledger))[0])
        text = ours.render()
        page += table(rows, ledger.last_seq(), folder.ledger.stat().st_size, text)
        ledger.close()
    finish("metrics_scrape", page, write=chosen.write)


def table(rows: dict[str, list[float]], events: int, size_bytes: int, text: bytes) -> list[str]:
    middle = {name: statistics.median(times) for name, times in rows.items()}
    words = {
        "idle": "scrape, nothing new since the last one",
        "round": f"scrape, a round of {len(one_round(1))} events since the last one",
        "sums": "the sums of the tables by SQL, 8 numbers",
        "whole": "everything folded anew, as after a restart",
    }
    lines = [
        f"A ledger of {events:,} events, {size_bytes:,} bytes. A scrape is the whole answer of `/metrics`: "
        f"{len(text):,} bytes, {text.count(b'{') + text.count(b'_total '):,} lines or so. Medians.",
        "",
        "| | ms | against the whole |",
        "|---|---|---|",
    ]
    lines += [
        f"| {words[name]} | {1000 * took_s:,.1f} | "
        + ("- |" if name == "whole" else f"{middle['whole'] / took_s:,.0f} times less |")
        for name, took_s in middle.items()
    ]
    return lines


if __name__ == "__main__":
    main()
