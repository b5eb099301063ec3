"""mergekit's merges of the same checkpoints, in mergekit's own environment: started by benchmarks/oracles_merging.py.

    PYTHON benchmarks/peers/mergekit_rules.py JOBS.json

JOBS.json is a list of ``{"into": FOLDER, "config": {...}}``, each a configuration as mergekit's
documentation describes it. One process does them all; every answer is a line with the name of
the folder and ``done`` or what went wrong.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge


def main() -> None:
    print("mergekit", version("mergekit"), flush=True)
    for job in json.loads(Path(sys.argv[1]).read_text()):
        options = MergeOptions(copy_tokenizer=False, allow_crimes=True, random_seed=7, quiet=True)
        try:
            run_merge(MergeConfiguration.model_validate(job["config"]), job["into"], options=options)
        except Exception as problem:  # noqa: BLE001 (the one who asked decides)
            print(job["into"], f"{type(problem).__name__}: {problem}", flush=True)
        else:
            print(job["into"], "done", flush=True)


if __name__ == "__main__":
    main()
