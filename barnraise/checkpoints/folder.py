"""Which files of a folder are the model, and which travel along to a merged one.

A folder is read as Hugging Face writes it: ``model.safetensors``, or shards that
``model.safetensors.index.json`` names. Names in an index are names in that folder and never
paths. Pickled weights (``*.bin``, ``*.pt``) and code (``*.py``) are not touched at all. An adapter as peft writes it
is read where one is expected.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from barnraise.errors import NotACheckpointError

__all__ = [
    "ADAPTER",
    "ADAPTER_CONFIG",
    "CONFIG",
    "INDEX",
    "SINGLE",
    "TOKENIZERS",
    "TRAVELLING",
    "find_files",
    "read_json",
    "travelling",
]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
JSON_MAX_BYTES = 1 << 24
TRAVELLING_MAX_BYTES = 1 << 28

TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
TRAVELLING = (
    CONFIG,
    "generation_config.json",
    *TOKENIZERS,
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
)
"""Copied from the base if it has them; nothing else is."""


def find_files(path: Path, *, adapters: bool = False) -> tuple[list[Path], dict[str, str] | None]:
    """The safetensors files of a model.

    Args:
        path: a file, or a folder.
        adapters: whether a folder may hold an adapter in place of a model.

    Returns:
        the files, and which of them (by name) holds each tensor if an index says so.

    Raises:
        NotACheckpointError: there is no model, or more than one.
    """
    if path.is_file():
        if path.name == INDEX:
            return _indexed(path.parent)
        return [path], None
    if not path.is_dir():
        raise NotACheckpointError(f"there is no {path}; expected a safetensors file or a folder with one")
    if (path / SINGLE).is_file():
        return [path / SINGLE], None
    if (path / INDEX).is_file():
        return _indexed(path)
    if adapters and (path / ADAPTER).is_file() and (path / ADAPTER_CONFIG).is_file():
        return [path / ADAPTER], None
    found = sorted(path.glob("*.safetensors"))
    if len(found) == 1 and not found[0].name.startswith("adapter_"):
        return found, None
    raise NotACheckpointError(_why_none(path, found))


def _why_none(folder: Path, found: list[Path]) -> str:
    expected = f"expected {SINGLE} or {INDEX}"
    if any(path.name.startswith("adapter_") for path in found):
        return f"{folder} holds an adapter, not a whole model. Merge it into its base first; {expected}"
    if found:
        return f"{folder} holds {len(found)} safetensors files and no {INDEX}; name one of them, such as {found[0]}"
    pickled = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])
    if pickled:
        return f"{folder} holds only {pickled[0].name}, which is pickled and never read here. Save it as safetensors"
    return f"{folder} holds no model; {expected}"


def _indexed(folder: Path) -> tuple[list[Path], dict[str, str]]:
    index = read_json(folder / INDEX)
    where = index.get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(name, str) for name in where.values()):
        raise NotACheckpointError(f"{folder / INDEX} has no weight_map from tensors to files")
    names = sorted(set(where.values()))
    for name in names:
        if "/" in name or "\\" in name or "\0" in name or not name.endswith(".safetensors") or name.startswith("."):
            raise NotACheckpointError(f"{folder / INDEX} names {name[:64]!a}, expected safetensors files beside it")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise NotACheckpointError(
            f"{folder}: {len(missing)} of {len(names)} shards are not there, such as {missing[0]!a}; get them first"
        )
    return [folder / name for name in names], where


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of bounded size.

    Raises:
        NotACheckpointError: it is none.
    """
    with path.open("rb") as file:
        raw = file.read(JSON_MAX_BYTES + 1)
    if len(raw) > JSON_MAX_BYTES:
        raise NotACheckpointError(f"{path} has more than {JSON_MAX_BYTES:,} bytes; not one that is read here")
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise NotACheckpointError(f"{path} is no JSON that can be read ({error})") from error
    if not isinstance(value, dict):
        raise NotACheckpointError(f"{path} is no JSON object")
    return value


def travelling(folder: Path) -> list[Path]:
    """What travels along from a model's folder.

    Raises:
        NotACheckpointError: a file that is larger than any such file is.
    """
    found = [folder / name for name in TRAVELLING if (folder / name).is_file()]
    for path in found:
        if path.stat().st_size > TRAVELLING_MAX_BYTES:
            raise NotACheckpointError(f"{path} has {path.stat().st_size:,} bytes; remove it, or copy it yourself")
    return found
