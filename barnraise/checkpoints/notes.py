"""What somebody should know about the models that are merged, and is no error."""

from __future__ import annotations

from pathlib import Path

from barnraise.checkpoints.compare import config_differences
from barnraise.checkpoints.inputs import OpenedInputs
from barnraise.digest import digest_file

__all__ = ["notes"]

VOCABULARY = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "spiece.model")


def notes(opened: OpenedInputs) -> list[str]:
    """One sentence each, for a person."""
    return [*_same_twice(opened), *_types(opened), *_configurations(opened), *_code(opened)]


def _same_twice(opened: OpenedInputs) -> list[str]:
    told = []
    seen: dict[Path, str] = {}
    for label, one, _ in opened.by_label():
        path = one.checkpoint.files[0].resolve()
        if path in seen:
            told.append(f"{label} is the same model as {seen[path]}")
        seen.setdefault(path, label)
    if len(opened.models) == 1:
        told.append("there is one model only; the result is that model, as the strategy leaves it")
    return told


def _types(opened: OpenedInputs) -> list[str]:
    reference = opened.by_label()[0][0]
    mixed = [
        f"{label} is {', '.join(sorted(found))}"
        for label, one, _ in opened.by_label()
        if (found := {tensor.dtype for tensor in one.checkpoint.tensors.values()})
        != {tensor.dtype for tensor in opened.reference.checkpoint.tensors.values()}
    ]
    if mixed and opened.recipe.dtype == "same":
        return [f"{'; '.join(mixed)}: read as they are, the result has the types of {reference}"]
    return []


def _configurations(opened: OpenedInputs) -> list[str]:
    told = []
    label_of_reference = opened.by_label()[0][0]
    reference = opened.reference.checkpoint
    for label, one, _ in opened.by_label()[1:]:
        _, behaviour = config_differences(reference.config, one.checkpoint.config)
        if behaviour:
            told.append(f"{label}: {'; '.join(behaviour)}; the result gets what {label_of_reference} has")
        differing = _vocabularies(reference.folder, one.checkpoint.folder)
        if differing:
            told.append(f"{label} has another {differing} than {label_of_reference}, whose travels along")
    return told


def _vocabularies(reference: Path | None, other: Path | None) -> str:
    """Files of the vocabulary that both have and that differ."""
    if reference is None or other is None:
        return ""
    both = [name for name in VOCABULARY if (reference / name).is_file() and (other / name).is_file()]
    return ", ".join(name for name in both if digest_file(reference / name) != digest_file(other / name))


def _code(opened: OpenedInputs) -> list[str]:
    config = opened.reference.checkpoint.config or {}
    if "auto_map" in config:
        return [
            "config.json names Python code (auto_map); code does not travel along, copy it yourself if you trust it"
        ]
    return []
