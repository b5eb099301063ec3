"""A model in a folder as Hugging Face's software writes it: weights, configuration, tokeniser.

Nothing is fetched and nothing foreign is run: weights are safetensors, code that a folder brings
is not imported. What the model computes is computed in float32 on the CPU, whatever type is stored.

B  texts in a batch
T  tokens of a text
V  vocabulary
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from barnraise.checkpoints import Checkpoint, DigestedCheckpoint
from barnraise.errors import AcceptanceError, MissingExtraError
from coordinator.acceptance.asking.offline import offline
from coordinator.acceptance.models.subject import Signature

__all__ = ["FolderSubject", "open_folder"]

PROBE = "A sentence,  two spaces;\n\ta line. Caf\u00e9 12.5% {x}"
CONTEXT = 2048


class FolderSubject:
    """A causal language model of transformers.

    Args:
        checkpoint: its tensors as they are stored. model, tokenizer: as transformers loaded them.
    """

    def __init__(self, checkpoint: Checkpoint, model: Any, tokenizer: Any) -> None:
        self._checkpoint = checkpoint
        self._model = model
        self._tokenizer = tokenizer
        special = tokenizer("")["input_ids"]
        self._before: list[int] = [token for token in special[:1] if token == tokenizer.bos_token_id]

    @cached_property
    def digest(self) -> str:
        return DigestedCheckpoint(self._checkpoint).digest()

    @cached_property
    def context(self) -> int:
        config = self._model.config
        limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "seq_length")]
        known = [int(limit) for limit in limits if isinstance(limit, int) and limit > 1]
        return min([*known, int(min(self._tokenizer.model_max_length, known[0] if known else CONTEXT))])

    @property
    def end(self) -> int | None:
        found = self._tokenizer.eos_token_id
        return None if found is None else int(found)

    @property
    def size_bytes(self) -> int:
        return self._checkpoint.size_bytes

    @cached_property
    def signature(self) -> Signature:
        with torch.inference_mode():
            found = self._model(input_ids=torch.zeros(1, 1, dtype=torch.int64)).logits
        dtype = str(found.dtype).removeprefix("torch.")
        return Signature({"input_ids": ("int64", ("B", "T"))}, {"logits": (dtype, ("B", "T", int(found.shape[2])))})

    def encode(self, text: bytes) -> list[int]:
        found = self._tokenizer.encode(text.decode(errors="replace"), add_special_tokens=False)
        return self._before + [int(token) for token in found]

    def decode(self, tokens: list[int]) -> bytes:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).encode(errors="replace")

    def logits(self, tokens_BT: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Any = self._model(input_ids=tokens_BT, use_cache=False).logits
        return torch.as_tensor(found).float()


def open_folder(folder: Path) -> FolderSubject:
    """The model in a folder, read from local files alone.

    Raises:
        MissingExtraError: transformers is not installed.
        CheckpointError: no safetensors file, or one that is not what it says.
        AcceptanceError: transformers does not know the model, or its tokeniser loses text.
    """
    checkpoint = Checkpoint.open(folder)
    if importlib.util.find_spec("transformers") is None:
        raise MissingExtraError(
            f"testing {folder} needs transformers, which is not installed. Run: pip install 'barnraise[eval]'"
        )
    with offline():
        try:
            transformers = importlib.import_module("transformers")
            local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, **local
            ).eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
            subject = FolderSubject(checkpoint, model, tokenizer)
            came_back = subject.decode(subject.encode(PROBE.encode()))
        except Exception as error:  # a library of this size raises anything over a folder it cannot load
            raise AcceptanceError(
                f"{folder} cannot be loaded as a causal language model: {type(error).__name__}: {_first_line(error)}. "
                "It must hold config.json, safetensors weights and a tokeniser that transformers knows without the "
                "folder's own code"
            ) from error
    if came_back != PROBE.encode():
        raise AcceptanceError(
            f"the tokeniser of {folder} makes {came_back[:60]!r} of {PROBE.encode()!r}; only models whose tokeniser "
            "keeps all text can be tested"
        )
    return subject


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")[:300]
