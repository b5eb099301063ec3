"""A merge of checkpoints as a user of mergekit runs it, in mergekit's own environment.

    PYTHON mergekit_merge.py METHOD OUT [--base DIR] MODEL...

METHOD is ``linear`` or ``ties`` (density 0.2), each model with weight 1 / K. The command is
mergekit's own, ``mergekit-yaml``, called in this process so that what it costs is all that is
counted; ``--version`` prints what is installed.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

DENSITY = 0.2


def config(method: str, base: str | None, models: list[str]) -> dict[str, object]:
    """The merge as mergekit wants it described."""
    parameters: dict[str, float] = {"weight": 1 / len(models)}
    if method == "ties":
        parameters["density"] = DENSITY
    rows = [{"model": model, "parameters": parameters} for model in models]
    described: dict[str, object] = {"merge_method": method, "models": rows, "dtype": "float32"}
    if base is not None:
        described["base_model"] = base
        described["parameters"] = {"normalize": True}
    return described


def main() -> None:
    if sys.argv[1:] == ["--version"]:
        print("mergekit", version("mergekit"), "torch", version("torch"))
        return
    method, out, *rest = sys.argv[1:]
    base = rest[1] if rest[0] == "--base" else None
    models = rest[2:] if base else rest
    file = Path(f"{out}.yml")
    file.write_text(json.dumps(config(method, base, models)))  # JSON is YAML
    os.environ["HF_HUB_OFFLINE"] = "1"
    from mergekit.scripts.run_yaml import main as mergekit_yaml

    mergekit_yaml([str(file), out, "--device", "cpu", "--allow-crimes", "--no-copy-tokenizer", "--quiet"])


if __name__ == "__main__":
    main()
