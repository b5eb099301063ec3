"""A resolved configuration written as TOML, for tests that need a run folder with its run.toml."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from barnraise.config import RunConfig

__all__ = ["as_toml"]


def as_toml(config: RunConfig) -> str:
    """TOML that reads as the same configuration."""
    value = config.model_dump(mode="json", exclude_none=True)
    return "\n".join(f"{key} = {_value(item)}" for key, item in value.items()) + "\n"


def _value(item: Any) -> str:
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(part)}" for key, part in item.items()) + "}"
    if isinstance(item, list):
        return "[" + ", ".join(_value(part) for part in item) + "]"
    return json.dumps(item)
