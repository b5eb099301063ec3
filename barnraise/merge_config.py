"""How updates become the next release, as ``[merge]`` states it; see docs/strategies.md."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from barnraise.sections import Positive, Section

__all__ = ["MergeConfig", "OuterConfig", "PreAggregationConfig"]

_OUTER_SETTINGS: dict[str, tuple[str, ...]] = {
    "none": (),
    "outer-nesterov": ("learning_rate", "momentum"),
    "fed-avg-m": ("learning_rate", "momentum"),
    "fed-adagrad": ("learning_rate", "beta1", "tau"),
    "fed-adam": ("learning_rate", "beta1", "beta2", "tau"),
    "fed-yogi": ("learning_rate", "beta1", "beta2", "tau"),
}


class OuterConfig(Section):
    """Outer optimiser over the merged change. ``name = "none"`` adds it as it is.

    Attributes:
        learning_rate: outer learning rate. momentum: of ``outer-nesterov`` and ``fed-avg-m``.
        beta1, beta2: decay of the first and second moment of the adaptive ones.
        tau: how far they adapt: added to the root of the second moment.
    """

    name: Literal["none", "outer-nesterov", "fed-avg-m", "fed-adagrad", "fed-adam", "fed-yogi"] = "outer-nesterov"
    learning_rate: Annotated[float, Field(gt=0)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    tau: Annotated[float, Field(gt=0)] = 1e-3

    @model_validator(mode="after")
    def _settings_are_used(self) -> OuterConfig:
        used = _OUTER_SETTINGS[self.name]
        fields = {key: field.default for key, field in type(self).model_fields.items() if key not in ("name", *used)}
        ignored = [key for key, default in fields.items() if getattr(self, key) != default]
        if ignored:  # by value: a resolved configuration names every key
            raise ValueError(
                f"{self.name} does not use {', '.join(ignored)}; it has {', '.join(used) or 'no settings'}"
            )
        return self


class PreAggregationConfig(Section):
    """What is done to the updates before the strategy sees them; ``options`` are its hyperparameters."""

    name: str
    options: dict[str, float] = Field(default_factory=dict)


class MergeConfig(Section):
    """How updates become one change.

    Attributes:
        strategy: name of a strategy; ``options`` are its hyperparameters.
        before: pre-aggregations, in their order: ``nnm``, ``bucketing``.
        clip_norm_at: an update's norm is clipped at this multiple of the round's median norm.
        weight_by: ``equal``; ``tokens``: stated, and plausible (coordinator/plausible.py); or ``scores``: what each
            update does to hidden text, where scores differ by more than chance. weight_bound: how many times another
            update's weight one may have by that.
        segments_per_task: segments that one Ray task merges.
    """

    strategy: str = "mean"
    options: dict[str, float | str] = Field(default_factory=dict)
    before: tuple[PreAggregationConfig, ...] = ()
    clip_norm_at: Annotated[float, Field(gt=0)] = 2.0
    weight_by: Literal["equal", "tokens", "scores"] = "equal"
    weight_bound: Annotated[float, Field(ge=1, le=10)] = 2.0
    segments_per_task: Positive = 1
    outer: OuterConfig = OuterConfig()
