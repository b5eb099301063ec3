"""Flower's rules on the same rows, in Flower's own environment: started by benchmarks/merge_speed.py.

    PYTHON benchmarks/peers/flower.py

Reads one JSON object a line and answers with one. ``{"rule": .., "rows": FILE, "count": K, "size": P}``
merges the K float32 rows of the file once and answers seconds, processor seconds and peak anonymous bytes
beyond what the messages hold. ``{"rule": "scores", ..., "liars": F}`` answers Krum's scores and choice.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import threading
import time
from pathlib import Path

import flwr
import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum, MultiKrum
from flwr.serverapp.strategy.multikrum import compute_distances, select_multikrum
from flwr.supercore.task_identity import TaskIdentity

LAYERS = 40
RULES = {
    "mean": lambda: FedAvg(),
    "median": lambda: FedMedian(),
    "trimmed mean": lambda: FedTrimmedAvg(beta=0.2),
    "krum": lambda: Krum(num_malicious_nodes=3),
    "multi-krum": lambda: MultiKrum(num_malicious_nodes=3, num_nodes_to_select=8),
}


def anonymous_bytes() -> int:
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


def contents(question: dict) -> list[RecordDict]:
    rows = np.memmap(question["rows"], np.float32, "r", shape=(question["count"], question["size"]))
    made = []
    for number, row in enumerate(rows):
        layers = np.array_split(row, min(LAYERS, len(row)))
        arrays = ArrayRecord({f"layer{at}": Array(np.ascontiguousarray(layer)) for at, layer in enumerate(layers)})
        made.append(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 100 + number})}))
    return made


def merge(question: dict) -> dict:
    strategy = RULES[question["rule"]]()
    replies = [
        Message(record, reply_to=Message(RecordDict(), number + 1, "train"))
        for number, record in enumerate(contents(question))
    ]
    gc.collect()
    before = peak = anonymous_bytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, anonymous_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    result = strategy.aggregate_train(1, replies)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    peak = max(peak, anonymous_bytes())
    done.set()
    watcher.join()
    assert result[0] is not None
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "extra_bytes": peak - before}


def scores(question: dict) -> dict:
    records = contents(question)
    squares = compute_distances([record.array_records["arrays"] for record in records])
    near = max(1, question["count"] - question["liars"] - 2)
    totals = [float(np.sum(row[np.argsort(row)[1 : near + 1]])) for row in squares]
    chosen = select_multikrum(records, question["liars"], 1)[0]
    return {"scores": totals, "chosen": next(n for n, record in enumerate(records) if record is chosen)}


def main() -> None:
    logging.disable(logging.CRITICAL)
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # a server would set these
    print(json.dumps({"version": flwr.__version__}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(scores(question) if question["rule"] == "scores" else merge(question)), flush=True)


if __name__ == "__main__":
    main()
