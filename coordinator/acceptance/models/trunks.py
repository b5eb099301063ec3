"""A trunk as acceptance tests see it, by its architecture.

P  parameters
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.errors import AcceptanceError, ConfigValueError
from barnraise.model_config import ByteLMConfig, CausalLMConfig, ModelConfig
from barnraise.releases.store import BlobStore
from barnraise.tokenizer import Tokenizer
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.models.answering_subject import AnsweringSubject
from coordinator.acceptance.models.causal_subject import CausalSubject
from coordinator.acceptance.models.subject import ByteSubject, Subject
from merge.architectures import ecosystem_files

__all__ = ["Side", "side_files", "tokenizer_of", "trunk_subject"]

Side = Callable[[str], bytes | None]
"""The content of a file that travels with the releases, by its digest; None where it is not at hand."""


def side_files(store: BlobStore) -> Side:
    """Of releases whose blobs are in a store."""
    return lambda digest: store.read(digest) if store.has(digest) else None


def trunk_subject(flat_P: NDArray[np.float32], model: ModelConfig, space: ParameterSpace, side: Side) -> Subject:
    """The model with these parameters, float32 [P].

    Raises:
        AcceptanceError: no test of this Barnraise can look at such a model, or its tokeniser is missing.
    """
    if isinstance(model, ByteLMConfig):
        return ByteSubject(flat_P, model, space)
    if isinstance(model, CausalLMConfig):
        return CausalSubject(flat_P, model, space, tokenizer_of(model, side))
    return AnsweringSubject(flat_P, model, space)


def tokenizer_of(model: CausalLMConfig, side: Side) -> Tokenizer:
    """The tokeniser of a model: of the files that it names, or of bytes.

    Raises:
        AcceptanceError: a file is missing or another one, or it cannot be read.
        MissingExtraError: the library for it is not installed.
    """
    files = {name: side(digest) for name, digest in model.files.items()}
    for name, data in files.items():
        if data is None or digest_bytes(data) != model.files[name]:
            raise AcceptanceError(f"{name} of the model is not at hand as its releases state it; pull a release again")
    try:
        return Tokenizer.of({name: data for name, data in files.items() if data} or ecosystem_files(model))
    except ConfigValueError as error:
        raise AcceptanceError(f"the model cannot be tested: {error}") from error
