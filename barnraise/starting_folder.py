"""A run that begins from a folder with a model: what ``model.from`` of its file names, and what that comes to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from barnraise.errors import ConfigValueError
from barnraise.sections import read_toml

__all__ = ["TAKEN_OVER", "starting_folder", "with_folder"]

TAKEN_OVER = "model.json"
"""Beside the file of a run that was made: what its ``model.from`` was."""


def starting_folder(path: Path) -> Path | None:
    """The folder that ``model.from`` of a run's file names, relative to that file; None where it names none.

    Raises:
        ConfigMissingError, ConfigValueError: as :func:`barnraise.config.load_run_config`.
    """
    model = read_toml(path, example="configs/runs/stdlib-lm.toml").get("model")
    named = model.get("from") if isinstance(model, dict) else None
    return path.parent / Path(str(named)).expanduser() if named is not None else None


def with_folder(model: dict[str, Any], path: Path) -> dict[str, Any]:
    """The section with what the folder that it names says: as it was taken over, or as it is now."""
    if {"config", "start", "files"} & model.keys() or model.get("architecture", "causal-lm") != "causal-lm":
        raise ConfigValueError(
            f"{path}: model.from takes configuration, weights and tokeniser of a causal-lm from a folder; remove "
            "model.config, or model.from"
        )
    own = {key: value for key, value in model.items() if key != "from"}
    kept = path.parent / TAKEN_OVER
    if kept.is_file():
        return {**_read_json(kept), **own}
    folder = path.parent / Path(str(model["from"])).expanduser()
    return {"architecture": "causal-lm", "config": _read_json(folder / "config.json"), **own}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigValueError(
            f"model.from: {path} cannot be read ({error.strerror}); name a folder with config.json, safetensors "
            "weights and tokenizer.json"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigValueError(f"model.from: {path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigValueError(f"model.from: {path} is no JSON object")
    return value
