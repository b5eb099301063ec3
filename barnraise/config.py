"""The configuration of a run: one TOML file, every default written here or in the file of its section.

The sections with ideas of their own are in model_config.py, data_config.py, schedule_config.py, update_config.py,
merge_config.py, suite.py, notify_config.py and swarm_config.py. The environment is read for secrets and addresses only,
never for behaviour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from barnraise.data_config import DataConfig, DigitsData, LocalData, StdlibData
from barnraise.digest import digest_json
from barnraise.errors import ConfigMissingError, ConfigValueError
from barnraise.merge_config import MergeConfig
from barnraise.model_config import ByteLMConfig, ForeignConfig, ImageClassifierConfig, ModelConfig
from barnraise.notify_config import NotifyConfig
from barnraise.schedule_config import ScheduleConfig
from barnraise.sections import Fraction, Positive, Section, bundled, parse_section, read_toml
from barnraise.starting_folder import with_folder
from barnraise.suite import LookConfig, ProbeConfig, SuiteConfig, find_suite, load_suite_config
from barnraise.swarm_config import SwarmConfig
from barnraise.update_config import CodecConfig, Turns, UpdateConfig

__all__ = [
    "AcceptanceConfig",
    "ChannelConfig",
    "GatewayConfig",
    "RoundConfig",
    "RunConfig",
    "StandingConfig",
    "TrainingConfig",
    "bundled_config",
    "load_run_config",
    "parse_run_config",
]

DIGITS = {"size": 8, "channels": 1, "levels": 16, "classes": 10}
"""What pictures of the corpus ``digits`` are, as a model states it."""


class TrainingConfig(Section):
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


class RoundConfig(Section):
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


class AcceptanceConfig(SuiteConfig):
    """What a release must pass: a suite, written here or in a file of its own, and the check of single updates.

    Attributes:
        suite: the file with the suite: ``NAME.toml`` beside this one, or one that ships with Barnraise.
        check_examples: held-out examples for the cheap check of every single update.
        check_pool: so many are at hand, of which each round draws its own; None: always the same ones.
        check_margin: bits per byte, or per answer, by which an update alone may worsen them.
    """

    suite: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,48}$")] | None = None
    check_examples: Annotated[int, Field(ge=8)] = 32
    check_pool: Annotated[int, Field(ge=8)] | None = None
    check_margin: Annotated[float, Field(gt=0)] = 0.3

    @model_validator(mode="after")
    def _pool_is_enough(self) -> AcceptanceConfig:
        if self.check_pool is not None and self.check_pool < self.check_examples:
            raise ValueError(f"check_pool {self.check_pool} is fewer than the check_examples {self.check_examples}")
        return self

    @property
    def check_at_hand(self) -> int:
        """Examples that the checks of all rounds are drawn from."""
        return self.check_examples if self.check_pool is None else self.check_pool


class ChannelConfig(Section):
    """What happens when a channel moves forward: its probes run, and one that shows a regression moves it back."""

    probes: tuple[ProbeConfig, ...] = ()


class ReleaseConfig(Section):
    """How releases are stored: as patches, with a keyframe every ``keyframe_every`` releases.

    Attributes:
        turns: a patch says one of so many elements, others each round; what else a round changes stays with the
            coordinator until it has its turn. None for all elements.
    """

    codec: CodecConfig = CodecConfig(name="topk", k=256)
    keyframe_every: Positive = 64
    turns: Turns | None = None

    @model_validator(mode="after")
    def _turns_name_elements(self) -> ReleaseConfig:
        if self.turns is not None:
            self.codec.require_values_alone("the number of the round says with turns", "blockwise (4 bits are enough)")
        return self


class StandingConfig(Section):
    """What the scores of a contributor's updates come to: a number that goes up with help and down with harm.

    Attributes:
        enforce: what somebody suspended sends is measured and not merged. Without it nothing is held back.
        new_for: updates scored before anybody is judged. trust_at, suspend_at: borders of the number.
        penalty: points that a harmful or recognised update takes. suspended_rounds: how long a suspension lasts.
    """

    enforce: bool = False
    new_for: Annotated[int, Field(ge=1)] = 2
    trust_at: Annotated[int, Field(ge=1)] = 5
    suspend_at: Annotated[int, Field(le=-1)] = -5
    penalty: Annotated[int, Field(ge=1)] = 2
    suspended_rounds: Positive = 20


class GatewayConfig(Section):
    """The public door. ``port = 0`` lets the system choose; it is written to ``address.json``.

    Attributes:
        public_url: how the run is reached from outside, for the lines that pages show; by default as a visitor did.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    public_url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:_\[\]-]+/?$")] | None = None
    max_update_bytes: Positive = 256 * 1024 * 1024
    max_pending_updates_per_contributor: Positive = 4
    request_deadline_s: Annotated[float, Field(gt=0)] = 30.0
    min_body_bytes_per_s: Annotated[int, Field(ge=0)] = 1024
    max_clock_skew_s: Annotated[float, Field(gt=0)] = 300.0
    recovery_after_s: Annotated[float, Field(ge=0)] = 259200.0


class ConductorConfig(Section):
    """What the conductor and its Ray may use on this machine, and how long a task may take."""

    workers: Positive = 2
    poll_every_s: Annotated[float, Field(gt=0)] = 0.2
    check_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    test_timeout_s: Annotated[float, Field(gt=0)] = 600.0


class RunConfig(Section):
    """A whole run. Sections and keys are those of the TOML file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")]
    description: str = ""
    licence: str = "Apache-2.0"
    model: ModelConfig = ByteLMConfig()
    data: DataConfig
    training: TrainingConfig = TrainingConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    update: UpdateConfig = UpdateConfig()
    release: ReleaseConfig = ReleaseConfig()
    round: RoundConfig = RoundConfig()
    merge: MergeConfig = MergeConfig()
    acceptance: AcceptanceConfig
    channels: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,31}$")], ChannelConfig] = Field(
        default_factory=dict
    )
    standing: StandingConfig = StandingConfig()
    gateway: GatewayConfig = GatewayConfig()
    conductor: ConductorConfig = ConductorConfig()
    notify: Annotated[NotifyConfig, Field(exclude=True)] = NotifyConfig()  # left out of ledger, manifests and digest
    swarm: Annotated[SwarmConfig, Field(exclude=True)] = SwarmConfig()  # the same

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if self.round.min_updates > self.round.target_updates:
            raise ValueError("round.min_updates is larger than round.target_updates")
        last, falls_from = self.round.max_rounds, self.schedule.falls_from
        if last is not None and falls_from is not None and falls_from > last:
            raise ValueError(
                f"schedule.falls_from {falls_from} is after the last round, round.max_rounds {last}, so the rate would "
                "never fall; let it fall from an earlier round, raise max_rounds, or leave the fall out"
            )
        if (misfit := _misfit(self.model, self.data)) is not None:
            raise ValueError(misfit)
        some = next((key for key in ("train", "lora", "mask") if getattr(self.update, key)), None)
        if self.release.turns is not None and some is not None:
            raise ValueError(
                f"release.turns are of all elements of the model, and update.{some} lets only some of them change; "
                "remove one of the two"
            )
        for channel, settings in self.channels.items():
            probes = [probe.name for probe in settings.probes]
            if len(set(probes)) != len(probes):
                raise ValueError(f"channels.{channel}.probes: two probes have the same name")
        for what, test in self.looks:
            if test.shard is not None and test.shard not in self.data.shards:
                known = ", ".join(self.data.shards)
                raise ValueError(f"{what} {test.name}: no shard {test.shard!r}; there are {known}")
            self.acceptance.require_at_hand(test, what)
        return self

    def training_in(self, number: int) -> TrainingConfig:
        """What round ``number``, which counts from 1, trains with: at the rate that ``schedule`` gives it."""
        rate = self.training.learning_rate * self.schedule.factor(number)
        return self.training.model_copy(update={"learning_rate": rate})

    @property
    def looks(self) -> list[tuple[str, LookConfig]]:
        """Every test and every probe, each with what it is."""
        tests: list[tuple[str, LookConfig]] = [("acceptance test", test) for test in self.acceptance.tests]
        return tests + [("probe", probe) for settings in self.channels.values() for probe in settings.probes]

    @property
    def digest(self) -> str:
        """Digest of the resolved configuration, defaults included."""
        return digest_json(self.model_dump(mode="json"))


def _misfit(model: ModelConfig, data: DataConfig) -> str | None:
    """Why a model cannot learn from some data, in words; None where it can, as far as one can see from here."""
    if isinstance(data, DigitsData):
        if isinstance(model, ImageClassifierConfig):
            lacks = [f"model.{key} {wanted}" for key, wanted in DIGITS.items() if getattr(model, key) != wanted]
            return f"the corpus digits needs {', '.join(lacks)}" if lacks else None
        if not isinstance(model, ForeignConfig):
            return f"model.architecture {model.architecture} reads text, the corpus digits has pictures"
    if isinstance(model, ImageClassifierConfig) and isinstance(data, StdlibData | LocalData):
        return f"model.architecture {model.architecture} reads pictures, the corpus {data.corpus} has text"
    return None


def load_run_config(path: Path) -> RunConfig:
    """Read and validate a run's TOML file, and the suite's that it names.

    Raises:
        ConfigMissingError: no such file.
        ConfigUnknownKeyError: a key that nothing reads.
        ConfigValueError: not TOML, or a value out of range.
    """
    value = read_toml(path, example="configs/runs/stdlib-lm.toml")
    model = value.get("model")
    if isinstance(model, dict) and "from" in model:
        value["model"] = with_folder(model, path)
    acceptance = value.get("acceptance")
    if isinstance(acceptance, dict) and isinstance(acceptance.get("suite"), str):
        value["acceptance"] = _with_suite(acceptance, path)
    return parse_run_config(value, source=str(path))


def _with_suite(acceptance: dict[str, Any], path: Path) -> dict[str, Any]:
    """The section with the keys of the suite that it names."""
    twice = sorted({"tests", "data"} & acceptance.keys())
    if twice:
        raise ConfigValueError(
            f"{path}: acceptance.suite names a suite and acceptance.{twice[0]} is given too; keep one of the two"
        )
    suite = load_suite_config(find_suite(acceptance["suite"], path))
    return {**suite.model_dump(mode="json", exclude_defaults=True), **acceptance}


def bundled_config(name: str, kind: Literal["runs", "demo"] = "runs") -> Path:
    """A ready-made run that ships with Barnraise: ``configs/KIND/NAME.toml``; the demo's has units of seconds.

    Raises:
        ConfigMissingError: there is none of that name.
    """
    path = bundled(kind, name)
    if path is None:
        raise ConfigMissingError(f"no run called {name!r} ships with this Barnraise; reinstall it")
    return path


def parse_run_config(value: dict[str, Any], *, source: str) -> RunConfig:
    """Validate a decoded TOML document; ``source`` is named in errors."""
    return parse_section(RunConfig, value, source=source)
