"""``NODE/policy-memory.json``: what policies know that a restart must not lose, such as today's share of a quota.

A file that is damaged, or of a policy that has changed its mind about what to remember, is forgotten: every policy
can begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from barnraise.releases.durable import replace_file
from contributor.governor.policy import Policy

__all__ = ["FILE", "recall", "remember"]

FILE = "policy-memory.json"


def remember(folder: Path, policies: Mapping[str, Policy], states: Mapping[str, Any]) -> None:
    """Write down the states of those policies that want it."""
    told = {}
    for name, policy in policies.items():
        kind = getattr(policy, "memory", None)
        state = states.get(name)
        if kind is not None and isinstance(state, kind):
            told[name] = TypeAdapter(kind).dump_python(state, mode="json")
    replace_file(folder / FILE, json.dumps(told, sort_keys=True, allow_nan=False).encode())


def recall(folder: Path, policies: Mapping[str, Policy]) -> dict[str, Any]:
    """The states that were written down last, of those policies that are loaded."""
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    states: dict[str, Any] = {}
    for name, policy in policies.items():
        kind = getattr(policy, "memory", None)
        if kind is not None and isinstance(told, dict) and name in told:
            try:
                states[name] = TypeAdapter(kind).validate_python(told[name])
            except ValidationError:
                continue
    return states
