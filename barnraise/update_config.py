"""What contributors send, and how it is compressed, as ``[update]`` states it; see docs/updates.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from barnraise.sections import Digest, Positive, Section

__all__ = ["CodecConfig", "LoraConfig", "MaskConfig", "Turns", "UpdateConfig"]

Turns = Literal[2, 4, 8, 16, 32, 64]
"""Rounds in which every element has one turn. All divide a chunk, so that no segment ends within a block."""


class CodecConfig(Section):
    """How a change is compressed.

    Attributes:
        name: ``dense`` (float32, exact), ``blockwise`` (every element in ``bits`` bits, one scale
            a chunk) or ``topk`` (the ``k`` largest of every 4,096 in 2-bit levels).
        bits: 8, 4, 2 or 1, which is a sign alone; ``blockwise`` only. ``topk`` always uses 2.
        k: entries kept of 4,096; ``topk`` only.
    """

    name: Literal["dense", "blockwise", "topk"] = "topk"
    bits: Literal[8, 4, 2, 1] = 2
    k: Annotated[int, Field(ge=1, le=2048)] = 64

    def require_values_alone(self, places_from: str, better: str) -> None:
        """Refuse a codec that says where values lie, for what is known otherwise.

        Args:
            places_from: what says where they lie, as it stands after "which".
            better: what to use in its place, beside ``dense``.

        Raises:
            ValueError: it is ``topk``.
        """
        if self.name == "topk":
            raise ValueError(f"codec topk would say again where values lie, which {places_from}; use {better} or dense")


class LoraConfig(Section):
    """Train low-rank factors in place of matrices.

    Attributes:
        rank: components of a matrix; one with a smaller side has fewer.
        alpha: the change is scaled by ``alpha / rank`` while it trains; None for alpha = rank.
    """

    rank: Annotated[int, Field(ge=1, le=256)] = 8
    alpha: Annotated[float, Field(gt=0)] | None = None

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.rank


class MaskConfig(Section):
    """A mask that a run has agreed on, pinned by its digest; ``barnraise mask`` makes one and prints this.

    Attributes:
        file: where it lies, beside the configuration; read when the run starts, and kept by the run.
        digest, size_bytes: of that file.
    """

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$")]
    digest: Digest
    size_bytes: Positive


def _decay_beside(said: Mapping[str, Any]) -> float:
    """The default of ``residual_decay``: an element that waits is asked for again, and need not be remembered."""
    return 0.9 if said.get("turns") is None else 0.0


class UpdateConfig(Section):
    """How contributions are compressed.

    Attributes:
        turns: send one of so many elements, others each round; every element has one turn in so many rounds.
            What does not have its turn is part of the residual. None for all elements.
        residual_decay: share of what compression left out that goes into the contributor's next update
            (error feedback with decay, Sarfi et al. 2025, https://arxiv.org/abs/2508.15706); 0 keeps nothing, and
            is the default with ``turns``.
        fisher: send a diagonal Fisher along, for the strategy ``fisher``.
        train: patterns of names of tensors, as a shell's; only those train. None for all.
        lora: train factors of matrices, and send these; of all matrices where ``train`` names none.
        mask: train its entries only, and send their values.
    """

    codec: CodecConfig = CodecConfig()
    turns: Turns | None = None
    residual_decay: Annotated[float, Field(ge=0, le=1)] = Field(default_factory=_decay_beside)
    fold_back_unmerged: bool = True
    fisher: bool = False
    train: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*?\[\]!-]{1,200}$")], ...] = ()
    lora: LoraConfig | None = None
    mask: MaskConfig | None = None

    @model_validator(mode="after")
    def _kinds_go_together(self) -> UpdateConfig:
        if self.lora is not None and self.codec.name == "topk":
            raise ValueError(
                "lora sends whole factors, and codec topk would leave most of them out; use blockwise (8 bits cost "
                "nothing) or dense"
            )
        if self.lora is not None and self.fisher:
            raise ValueError("a Fisher says how sure an update is of each element, and lora trains no elements")
        if self.mask is not None and (self.train or self.lora is not None):
            raise ValueError("mask says by itself what trains; remove train and lora, and make the mask accordingly")
        if self.mask is not None:
            self.codec.require_values_alone("mask has said", "blockwise")
        return self

    @model_validator(mode="after")
    def _turns_stand_alone(self) -> UpdateConfig:
        if self.turns is None:
            return self
        self.codec.require_values_alone("the number of the round says with turns", "blockwise (1 bit is enough)")
        if self.train or self.lora is not None or self.mask is not None:
            raise ValueError("turns are of all elements of the model; remove train, lora and mask, or turns")
        if self.fisher:
            raise ValueError(
                "a Fisher says how sure an update is of each element, and with turns it says few; remove it"
            )
        return self
