"""The architecture of the trunk, as ``[model]`` states it and every manifest repeats it.

What a task trains follows from the architecture, so a run names one thing:

    architecture        task                   built from
    byte-lm             byte-lm                a few numbers: width, layers, heads
    causal-lm           causal-lm              the config.json of a transformers architecture; no code of theirs
    image-classifier    image-classification   a few numbers: picture size, classes, width
    anything else       of that name           an entry point of another distribution, and its own options
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, Tag, model_validator

from barnraise.modest import immodest
from barnraise.sections import Digest, Positive, Section, named_by

__all__ = [
    "ByteLMConfig",
    "CausalLMConfig",
    "ForeignConfig",
    "ImageClassifierConfig",
    "ModelConfig",
]

BUILT_IN = ("byte-lm", "causal-lm", "image-classifier")

FileName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,63}$")]
"""Never a path; a release's manifest says which names there can be."""


class ByteLMConfig(Section):
    """A decoder-only transformer over bytes.

    Attributes:
        dim: width of the residual stream. hidden: width inside the feed-forward block.
        context: bytes the model sees at once. init_seed: seed of the first release's weights.
    """

    architecture: Literal["byte-lm"] = "byte-lm"
    dim: Positive = 256
    layers: Positive = 4
    heads: Positive = 4
    hidden: Positive = 640
    context: Positive = 256
    init_seed: int = 0

    @model_validator(mode="after")
    def _heads_divide(self) -> ByteLMConfig:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} must be a multiple of 2 * heads = {2 * self.heads}")
        return self

    @property
    def example_bytes(self) -> int:
        """Bytes of one held-out example: a window, of which the first byte is not predicted."""
        return self.context + 1


class CausalLMConfig(Section):
    """A causal language model of transformers, built from its configuration and never from code that comes along.

    A run's file may say ``from = "./folder"`` in place of ``config``, ``start`` and ``files``: a checkpoint whose
    configuration, weights and tokeniser are taken over when the run is made.

    Attributes:
        config: what its ``config.json`` says; plain JSON values.
        context: tokens the model sees at once in training and tests.
        init_seed: seed of the first release's weights, where no checkpoint gives them.
        start: digest of the keyframe with the first release's weights; None: they follow from ``init_seed``.
        files: name -> digest of what travels with every release, the tokeniser above all; without them a token is a
            byte.
    """

    architecture: Literal["causal-lm"]
    config: dict[str, Any]
    context: Positive = 256
    init_seed: int = 0
    start: Digest | None = None
    files: dict[FileName, Digest] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_be_built(self) -> CausalLMConfig:
        if (wrong := immodest(self.config)) is not None:
            raise ValueError(f"config {wrong}")
        if self.files and "tokenizer.json" not in self.files:
            raise ValueError("files must have a tokenizer.json; a tokeniser of another form is not read here")
        return self

    @property
    def example_bytes(self) -> int:
        """Bytes of one held-out example: a text that has at most as many tokens as the model sees at once."""
        return self.context


class ImageClassifierConfig(Section):
    """A small convolutional classifier of square pictures.

    Attributes:
        size: pixels of an edge. channels: of a pixel. levels: a pixel is a number from 0 to this.
        classes: how many answers there are.
        width: channels of the first block; each of ``blocks`` halves the edge and doubles the width.
        init_seed: seed of the first release's weights.
    """

    architecture: Literal["image-classifier"]
    size: Positive = 8
    channels: Positive = 1
    levels: Annotated[int, Field(ge=1, le=255)] = 255
    classes: Annotated[int, Field(ge=2, le=256)] = 10
    width: Positive = 32
    blocks: Annotated[int, Field(ge=1, le=8)] = 2
    init_seed: int = 0

    @model_validator(mode="after")
    def _blocks_fit(self) -> ImageClassifierConfig:
        if self.size % (1 << self.blocks):
            raise ValueError(f"size {self.size} must be a multiple of 2 ** blocks = {1 << self.blocks}")
        return self

    @property
    def example_bytes(self) -> int:
        """Bytes of one held-out example: the pixels, then the answer."""
        return self.size * self.size * self.channels + 1


class ForeignConfig(Section):
    """An architecture that an entry point of another distribution builds.

    Attributes:
        options: handed to it as they are.
        context: bytes of an example. init_seed: seed of the first release's weights.
    """

    architecture: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
    options: dict[str, Any] = Field(default_factory=dict)
    context: Positive = 1
    init_seed: int = 0

    @property
    def example_bytes(self) -> int:
        """Bytes of one held-out example."""
        return self.context


ModelConfig = Annotated[
    Annotated[ByteLMConfig, Tag("byte-lm")]
    | Annotated[CausalLMConfig, Tag("causal-lm")]
    | Annotated[ImageClassifierConfig, Tag("image-classifier")]
    | Annotated[ForeignConfig, Tag("foreign")],
    named_by("architecture", "byte-lm", BUILT_IN),
]
