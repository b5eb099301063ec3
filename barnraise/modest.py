"""What a model's configuration may ask for, looked at before anything is built from it.

A configuration of transformers comes from strangers: a coordinator hands it to contributors, a
folder to a coordinator. It may name code to run, and it may ask for a million layers. What is
refused here are names of code, and numbers of parts that would take long to build even without
memory for their weights. How many weights there are is counted afterwards, without allocating.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["immodest"]

BYTES_MAX = 256 * 1024
DEPTH_MAX = 6
LAYERS_MAX = 1_000
PARTS_MAX = 20_000  # experts of all layers
WIDTH_MAX = 1 << 24
RUNS_CODE = ("auto_map", "custom_pipelines", "trust_remote_code")
OF_LAYERS = ("layer", "block", "depth", "n_stage", "num_stage", "hops")
OF_EXPERTS = ("expert",)


def immodest(config: Mapping[str, Any]) -> str | None:
    """What is wrong with a configuration, in words that follow ``config``; None where nothing is."""
    if not isinstance(config.get("model_type"), str):
        return "must say its model_type, as the config.json of transformers does"
    try:
        size = len(json.dumps(config))
    except (ValueError, TypeError, RecursionError):
        return "holds values that are not JSON"
    if size > BYTES_MAX:
        return f"has {size:,} bytes, at most {BYTES_MAX:,} are read"
    layers = experts = 1
    for path, value in _values(config, ()):
        name, where = path[-1].lower(), ".".join(path)
        if len(path) > DEPTH_MAX:
            return f"is nested deeper than {DEPTH_MAX} tables, at {where}"
        if name in RUNS_CODE and value:
            return f"asks for code of its own ({where}), which is never run here"
        if name == "quantization_config" and value:
            return "is of quantised weights, which cannot be trained; begin from the model that they were made from"
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        if abs(value) > WIDTH_MAX and not name.endswith(("seed", "_id")):
            return f"asks for {where} = {value:,}, at most {WIDTH_MAX:,} is built"
        if any(part in name for part in OF_LAYERS):
            layers = max(layers, value)
        if any(part in name for part in OF_EXPERTS):
            experts = max(experts, value)
    if layers > LAYERS_MAX or layers * experts > PARTS_MAX:
        return f"asks for {layers:,} layers of {experts:,} experts, at most {LAYERS_MAX:,} and {PARTS_MAX:,} in all"
    return None


def _values(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value with the names that lead to it."""
    for name, value in table.items():
        here = (*path, str(name))
        yield here, value
        if isinstance(value, Mapping):
            yield from _values(value, here)
