"""A run that begins from a checkpoint: ``[model] from = "./folder"``.

What a run's file says is taken over once, when the run is made: the configuration as it is read,
the weights as a keyframe and the tokeniser's files as blobs. What became of it is ``model.json``
in the run's folder, so the folder that it came from may go afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from barnraise.checkpoints.folder import CONFIG, TRAVELLING, TRAVELLING_MAX_BYTES
from barnraise.config import RunConfig
from barnraise.digest import canonical_json, digest_bytes
from barnraise.errors import ConfigValueError
from barnraise.model_config import CausalLMConfig
from barnraise.releases.durable import replace_file
from barnraise.releases.keyframe import write_keyframe
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.tokenizer import Tokenizer
from coordinator.acceptance.asking.offline import offline
from merge.architectures import build, ecosystem_files, flat_of, space_of
from merge.architectures.causal_lm import transformers_library

__all__ = ["StartingPoint", "keep", "take_over"]


@dataclass(frozen=True)
class StartingPoint:
    """What a run takes over: its configuration, and digest -> content of what that names."""

    config: RunConfig
    blobs: dict[str, bytes]


def take_over(config: RunConfig, folder: Path | None) -> StartingPoint:
    """The configuration of a run with all that its model is made of; itself, where nothing is to be taken over.

    Args:
        folder: what ``model.from`` names, or None.

    Raises:
        ConfigValueError: a model that cannot be built, or weights or a tokeniser that cannot be read.
        MissingExtraError: transformers is not installed.
    """
    model = config.model
    if not isinstance(model, CausalLMConfig):
        return StartingPoint(config, {})
    if folder is None:
        Tokenizer.of(ecosystem_files(model))
        return StartingPoint(config, {})
    files = _files(folder)
    tokenizer = Tokenizer.of(files)
    named = {name: digest_bytes(data) for name, data in files.items()}
    model = model.model_copy(update={"files": named})
    module = build(model)
    _require_vocabulary(module, tokenizer, folder)
    space = space_of(module)
    blobs = {digest_bytes(data): data for data in files.values()}
    if any(folder.glob("*.safetensors")):
        loaded = _weights(folder)
        if space_of(loaded).digest != space.digest:
            raise ConfigValueError(
                f"{folder}: its weights have other tensors than its {CONFIG} makes; take both from the same model"
            )
        keyframe = write_keyframe(space, flat_of(loaded, space))
        blobs[digest_bytes(keyframe)] = keyframe
        model = model.model_copy(update={"start": digest_bytes(keyframe)})
    return StartingPoint(config.model_copy(update={"model": model}), blobs)


def keep(start: StartingPoint, folder: RunFolder) -> None:
    """Put what was taken over where releases are served from, and what became of it beside the run's file."""
    if not start.blobs:
        return
    store = BlobStore(folder.public)
    for digest, data in start.blobs.items():
        if not store.has(digest):
            store.put(data)
    replace_file(folder.model, canonical_json(start.config.model.model_dump(mode="json")))


def _files(folder: Path) -> dict[str, bytes]:
    """Name -> content of what travels with every release."""
    found = {}
    for name in TRAVELLING:
        path = folder / name
        if name == CONFIG or not path.is_file():
            continue
        if path.stat().st_size > TRAVELLING_MAX_BYTES:
            raise ConfigValueError(f"{path} has {path.stat().st_size:,} bytes, at most {TRAVELLING_MAX_BYTES:,} travel")
        found[name] = path.read_bytes()
    if "tokenizer.json" not in found:
        raise ConfigValueError(
            f"{folder} has no tokenizer.json, without which nobody could train on text; save it with "
            "tokenizer.save_pretrained, or leave model.from out and let every byte be a token"
        )
    return found


def _weights(folder: Path) -> torch.nn.Module:
    """The checkpoint as transformers reads it, in float32, from local safetensors files alone."""
    library = transformers_library()
    with offline():
        try:
            model: torch.nn.Module = library.AutoModelForCausalLM.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # a library of this size raises anything over a folder it cannot load
            first = next(iter(str(error).strip().splitlines()), "no reason given")[:300]
            raise ConfigValueError(
                f"{folder} cannot be loaded by transformers {library.__version__}: {type(error).__name__}: {first}"
            ) from error
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise ConfigValueError(f"{folder}: {name} holds a NaN or an infinity; such a model cannot be trained")
    return model


def _require_vocabulary(module: Any, tokenizer: Tokenizer, folder: Path) -> None:
    there = module.get_input_embeddings().num_embeddings
    if tokenizer.vocabulary > there:
        raise ConfigValueError(
            f"{folder}: its tokeniser has {tokenizer.vocabulary:,} tokens, its model knows {there:,}; take both from "
            "the same model"
        )
