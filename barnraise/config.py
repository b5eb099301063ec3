"""The configuration of a run: one TOML file, every key validated, every default written here.

A key that nothing reads is an error that names the file, the key and the nearest one that
exists. The environment is read for secrets and addresses only, never for behaviour.
"""

from __future__ import annotations

import difflib
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from barnraise.digest import digest_json
from barnraise.errors import ConfigMissingError, ConfigUnknownKeyError, ConfigValueError

__all__ = [
    "AcceptanceConfig",
    "AcceptanceTestConfig",
    "ChannelConfig",
    "CodecConfig",
    "DataConfig",
    "GatewayConfig",
    "MergeConfig",
    "ModelConfig",
    "OuterConfig",
    "PreAggregationConfig",
    "ProbeConfig",
    "RoundConfig",
    "RunConfig",
    "TrainingConfig",
    "bundled_config",
    "load_run_config",
    "parse_run_config",
]

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(_Section):
    """Architecture of the trunk.

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
    def _heads_divide(self) -> ModelConfig:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} must be a multiple of 2 * heads = {2 * self.heads}")
        return self


class DataConfig(_Section):
    """Training text and how it is split.

    Attributes:
        corpus: ``python-stdlib``, the source text of the running Python's standard library.
        held_out_percent: share of files, by digest of their path, kept for acceptance.
        shards: name of a domain -> the modules and packages of the standard library in it.
    """

    corpus: Literal["python-stdlib"] = "python-stdlib"
    held_out_percent: Annotated[int, Field(ge=1, le=50)] = 10
    shards: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")], tuple[str, ...]]


class TrainingConfig(_Section):
    """One unit of work: inner AdamW steps between pulling a base and sending an update.

    Attributes:
        keep_moments: a contributor's AdamW goes on with the moments of its last unit that was received, instead of
            beginning anew in every unit. They never leave its machine.
    """

    steps: Positive = 20
    batch: Positive = 8
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 2
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    beta1: Fraction = 0.9
    beta2: Fraction = 0.99
    clip_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    keep_moments: bool = True


class CodecConfig(_Section):
    """How a change is compressed.

    Attributes:
        name: ``dense`` (float32, exact), ``blockwise`` (every element in ``bits`` bits, one scale
            a chunk) or ``topk`` (the ``k`` largest of every 4,096 in 2-bit levels).
        bits: 8, 4 or 2; ``blockwise`` only. ``topk`` always uses 2.
        k: entries kept of 4,096; ``topk`` only.
    """

    name: Literal["dense", "blockwise", "topk"] = "topk"
    bits: Literal[8, 4, 2] = 2
    k: Annotated[int, Field(ge=1, le=2048)] = 64


class RoundConfig(_Section):
    """When a round stops collecting.

    Attributes:
        target_updates: enough; collecting ends once this many are checked and no lease is out.
        settle_for_s: with ``min_updates`` checked, collecting also ends when for this long no lease
            was out and nobody came: all who are here have delivered.
        min_updates: with fewer at the deadline the round is abandoned.
        collect_for_s: deadline, counted from the first lease of the round.
        lease_for_s: how long a contributor may take.
        max_rounds: stop opening rounds after this many; None means for ever.
    """

    target_updates: Positive = 4
    min_updates: Positive = 2
    settle_for_s: Annotated[float, Field(gt=0)] = 20.0
    collect_for_s: Annotated[float, Field(gt=0)] = 600.0
    lease_for_s: Annotated[float, Field(gt=0)] = 600.0
    max_rounds: Positive | None = None


_OUTER_SETTINGS: dict[str, tuple[str, ...]] = {
    "none": (),
    "outer-nesterov": ("learning_rate", "momentum"),
    "fed-avg-m": ("learning_rate", "momentum"),
    "fed-adagrad": ("learning_rate", "beta1", "tau"),
    "fed-adam": ("learning_rate", "beta1", "beta2", "tau"),
    "fed-yogi": ("learning_rate", "beta1", "beta2", "tau"),
}


class OuterConfig(_Section):
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


class PreAggregationConfig(_Section):
    """What is done to the updates before the strategy sees them; ``options`` are its hyperparameters."""

    name: str
    options: dict[str, float] = Field(default_factory=dict)


class MergeConfig(_Section):
    """How updates become one change.

    Attributes:
        strategy: name of a strategy; ``options`` are its hyperparameters.
        before: pre-aggregations, in their order: ``nnm``, ``bucketing``.
        clip_norm_at: an update's norm is clipped at this multiple of the round's median norm.
        weight_by: ``equal``, or ``tokens`` as the contributors state them.
        segments_per_task: segments that one Ray task merges.
    """

    strategy: str = "mean"
    options: dict[str, float | str] = Field(default_factory=dict)
    before: tuple[PreAggregationConfig, ...] = ()
    clip_norm_at: Annotated[float, Field(gt=0)] = 2.0
    weight_by: Literal["equal", "tokens"] = "equal"
    segments_per_task: Positive = 1
    outer: OuterConfig = OuterConfig()


class AcceptanceTestConfig(_Section):
    """One acceptance test.

    Attributes:
        kind: ``loss`` (bits per byte, lower is better) or ``accuracy`` (share of examples whose
            next byte is predicted, higher is better).
        shard: the domain whose held-out files it uses.
        examples: windows of the model's context drawn from them.
        margin: how much worse, in the metric's unit, still counts as non-inferior.
        supported: a release promises this test; otherwise it is only reported.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,48}$")]
    kind: Literal["loss", "accuracy"]
    shard: str
    examples: Annotated[int, Field(ge=8)] = 48
    margin: Annotated[float, Field(gt=0)]
    supported: bool = True


class AcceptanceConfig(_Section):
    """What a release must pass.

    Attributes:
        alpha: family-wise error rate of calling a worse model non-inferior.
        check_examples: held-out windows for the cheap check of every single update.
        check_margin: bits per byte by which an update alone may worsen them.
        tests: the suite.
    """

    alpha: Fraction = 0.05
    check_examples: Annotated[int, Field(ge=8)] = 32
    check_margin: Annotated[float, Field(gt=0)] = 0.3
    tests: Annotated[tuple[AcceptanceTestConfig, ...], Field(min_length=1)]


class ProbeConfig(_Section):
    """A look at a channel's release after the channel moved there, compared with the release before.

    Attributes:
        kind, shard, examples: as of an acceptance test.
        margin: by how much, in the metric's unit, the release must be shown to be worse for the channel to move back.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,48}$")]
    kind: Literal["loss", "accuracy"]
    shard: str
    examples: Annotated[int, Field(ge=8)] = 48
    margin: Annotated[float, Field(ge=0)] = 0.0


class ChannelConfig(_Section):
    """What happens when a channel moves forward: its probes run, and one that shows a regression moves it back."""

    probes: tuple[ProbeConfig, ...] = ()


class ReleaseConfig(_Section):
    """How releases are stored: as patches, with a keyframe every ``keyframe_every`` releases."""

    codec: CodecConfig = CodecConfig(name="topk", k=256)
    keyframe_every: Positive = 64


class UpdateConfig(_Section):
    """How contributions are compressed.

    Attributes:
        residual_decay: share of what compression left out that goes into the contributor's next update
            (error feedback with decay, Sarfi et al. 2025, https://arxiv.org/abs/2508.15706); 0 keeps nothing.
        fisher: send a diagonal Fisher along, for the strategy ``fisher``.
    """

    codec: CodecConfig = CodecConfig()
    residual_decay: Annotated[float, Field(ge=0, le=1)] = 0.9
    fold_back_unmerged: bool = True
    fisher: bool = False


class GatewayConfig(_Section):
    """The public door. ``port = 0`` lets the system choose; it is written to ``address.json``."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    max_update_bytes: Positive = 256 * 1024 * 1024
    max_pending_updates_per_contributor: Positive = 4
    request_deadline_s: Annotated[float, Field(gt=0)] = 30.0
    min_body_bytes_per_s: Annotated[int, Field(ge=0)] = 1024
    max_clock_skew_s: Annotated[float, Field(gt=0)] = 300.0


class ConductorConfig(_Section):
    """What the conductor and its Ray may use on this machine, and how long a task may take."""

    workers: Positive = 2
    poll_every_s: Annotated[float, Field(gt=0)] = 0.2
    check_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    test_timeout_s: Annotated[float, Field(gt=0)] = 600.0


class RunConfig(_Section):
    """A whole run. Sections and keys are those of the TOML file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")]
    description: str = ""
    licence: str = "Apache-2.0"
    model: ModelConfig = ModelConfig()
    data: DataConfig
    training: TrainingConfig = TrainingConfig()
    update: UpdateConfig = UpdateConfig()
    release: ReleaseConfig = ReleaseConfig()
    round: RoundConfig = RoundConfig()
    merge: MergeConfig = MergeConfig()
    acceptance: AcceptanceConfig
    channels: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,31}$")], ChannelConfig] = Field(
        default_factory=dict
    )
    gateway: GatewayConfig = GatewayConfig()
    conductor: ConductorConfig = ConductorConfig()

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if self.round.min_updates > self.round.target_updates:
            raise ValueError("round.min_updates is larger than round.target_updates")
        names = [test.name for test in self.acceptance.tests]
        if len(set(names)) != len(names):
            raise ValueError("acceptance.tests: two tests have the same name")
        for channel, settings in self.channels.items():
            probes = [probe.name for probe in settings.probes]
            if len(set(probes)) != len(probes):
                raise ValueError(f"channels.{channel}.probes: two probes have the same name")
        for what, test in self.looks:
            if test.shard not in self.data.shards:
                known = ", ".join(self.data.shards)
                raise ValueError(f"{what} {test.name}: no shard {test.shard!r}; there are {known}")
        return self

    @property
    def looks(self) -> list[tuple[str, AcceptanceTestConfig | ProbeConfig]]:
        """Everything that reads held-out text, each with what it is."""
        tests: list[tuple[str, AcceptanceTestConfig | ProbeConfig]] = [
            ("acceptance test", test) for test in self.acceptance.tests
        ]
        return tests + [("probe", probe) for settings in self.channels.values() for probe in settings.probes]

    @property
    def digest(self) -> str:
        """Digest of the resolved configuration, defaults included."""
        return digest_json(self.model_dump(mode="json"))


def load_run_config(path: Path) -> RunConfig:
    """Read and validate a run's TOML file.

    Raises:
        ConfigMissingError: no such file.
        ConfigUnknownKeyError: a key that nothing reads.
        ConfigValueError: not TOML, or a value out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ConfigMissingError(f"{path} is not a file. A ready-made one: configs/runs/stdlib-lm.toml") from error
    except UnicodeDecodeError as error:
        raise ConfigValueError(f"{path} is not UTF-8 text") from error
    try:
        value = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigValueError(f"{path} is not TOML: {error}") from error
    return parse_run_config(value, source=str(path))


def bundled_config(name: str) -> Path:
    """A ready-made run that ships with Barnraise: ``configs/runs/NAME.toml``.

    Raises:
        ConfigMissingError: there is none of that name.
    """
    here = Path(__file__).resolve().parent
    for configs in (here / "configs", here.parent / "configs"):  # in a wheel, in a checkout
        path = configs / "runs" / f"{name}.toml"
        if path.is_file():
            return path
    raise ConfigMissingError(f"no run called {name!r} ships with this Barnraise; reinstall it")


def parse_run_config(value: dict[str, Any], *, source: str) -> RunConfig:
    """Validate a decoded TOML document; ``source`` is named in errors."""
    try:
        return RunConfig.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    for problem in problems:
        if problem["type"] == "extra_forbidden":
            raise ConfigUnknownKeyError(_unknown_key(source, problem["loc"]))
    where = ".".join(str(part) for part in problems[0]["loc"])
    message = problems[0]["msg"].removeprefix("Value error, ")
    raise ConfigValueError(f"{source}: {where + ': ' if where else ''}{message}")


def _unknown_key(source: str, location: tuple[int | str, ...]) -> str:
    *parents, key = location
    section: Any = RunConfig
    for part in parents:
        if isinstance(part, str) and _is_section(section) and part in section.model_fields:
            section = _section_of(section.model_fields[part].annotation)
    known = list(section.model_fields) if _is_section(section) else []
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}?" if near else ""
    return f"{source}: unknown key {'.'.join(str(part) for part in location)!r}; {hint} nothing was started"


def _is_section(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _section_of(annotation: Any) -> Any:
    """The section class inside an annotation such as ``Annotated[tuple[X, ...], ...]``."""
    if _is_section(annotation):
        return annotation
    for inner in typing.get_args(annotation):
        found = _section_of(inner)
        if found is not None:
            return found
    return None
