"""A suite: the acceptance tests of a model, in a TOML file of their own or inside a run's.

    name = "stdlib-lm"
    alpha = 0.05

    [data.questions]                 # a data set: a file beside the suite, pinned by its digest
    path = "questions.jsonl"
    digest = "b3:.."

    [[tests]]
    name = "answers"
    kind = "multiple-choice"
    data = "questions"
    examples = 200
    margin = 0.02
    guards = "general knowledge"

A test reads a data set, or windows of the held-out text of one of the run's shards, or neither
(``size``, ``signature``). What can be asked is a **kind**; its own settings are ``options``, which
the kind itself validates (coordinator/acceptance/kinds). An attached fine-tune is a file as a data
set is, under ``[attachments.NAME]``; tests of the kind ``attached`` name it in their options.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from barnraise.digest import digest_json
from barnraise.errors import ConfigMissingError
from barnraise.sections import Digest, Fraction, Positive, Section, bundled, parse_section, read_toml

__all__ = [
    "AcceptanceTestConfig",
    "DataSetConfig",
    "KindName",
    "LookConfig",
    "ProbeConfig",
    "SuiteConfig",
    "find_suite",
    "load_suite_config",
]

KindName = Literal[
    "loss",
    "accuracy",
    "multiple-choice",
    "exact-match",
    "calibration",
    "canary",
    "robustness",
    "latency",
    "size",
    "signature",
    "attached",
    "lm-eval",
    "python",
]
WITHOUT_EXAMPLES = frozenset({"latency", "size", "signature"})
BRINGS_ITS_OWN = frozenset({"lm-eval", "python"})
Name = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,48}$")]


def _inside(text: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or not text.isprintable():
        raise ValueError("a data set's path is relative to the suite's file, and leads nowhere outside its folder")
    return text


class DataSetConfig(Section):
    """A file of examples, one JSON object a line; or an attachment, a safetensors file.

    Attributes:
        path: relative to the suite's file.
        digest: of its bytes; another file is refused.
        hidden: only the coordinator has it; it is never published.
    """

    path: Annotated[str, AfterValidator(_inside), Field(max_length=200)]
    digest: Digest
    hidden: bool = False


class LookConfig(Section):
    """What to look at in a model: what acceptance tests and probes have in common.

    Attributes:
        shard: the domain whose held-out files it uses. data: the data set that it uses. One of them, or none.
        examples: windows or lines that are looked at.
        margin: in the metric's unit.
        direction: whether ``lower`` or ``higher`` is better, where the kind leaves that open.
        options: settings of the kind.
        cpus, gpus, memory_mb: what it needs; timeout_s: it fails when it takes longer.
    """

    name: Name
    kind: KindName
    shard: str | None = None
    data: Name | None = None
    examples: Annotated[int, Field(ge=8)] = 48
    margin: Annotated[float, Field(ge=0)] = 0.0
    direction: Literal["lower", "higher"] | None = None
    options: dict[str, float | str] = Field(default_factory=dict)
    cpus: Annotated[float, Field(gt=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    memory_mb: Positive | None = None
    timeout_s: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _has_examples(self) -> Self:
        sources = [key for key in ("shard", "data") if getattr(self, key) is not None]
        if len(sources) > 1:
            raise ValueError(f"test {self.name}: has both a shard and a data set; keep one of the two")
        if not sources and self.kind not in WITHOUT_EXAMPLES | BRINGS_ITS_OWN:
            raise ValueError(f"test {self.name}: kind {self.kind} needs examples; give it a shard or a data set")
        return self

    @property
    def at_hand(self) -> int:
        """Examples that must be there."""
        return self.examples

    @property
    def attachment(self) -> str | None:
        """Name of the attached fine-tune that it puts on a model."""
        return self._named("attachment")

    @property
    def train(self) -> str | None:
        """Name of the data set that it continues training on."""
        return self._named("train")

    def _named(self, option: str) -> str | None:
        name = self.options.get(option) if self.kind == "attached" else None
        return None if name is None else str(name)

    @property
    def measured(self) -> dict[str, Any]:
        """What a measurement depends on, beside model and examples; margins and names are not among it."""
        asked = self.model_dump(mode="json", include={"kind", "options"})
        return {key: value for key, value in asked.items() if value != {}}


class AcceptanceTestConfig(LookConfig):
    """One acceptance test.

    Attributes:
        margin: how much worse, in the metric's unit, still counts as non-inferior.
        pool: so many examples are at hand, of which each round draws its own; None: always the same ones.
        uses: how often an example of the pool may be drawn; None: as often as the margin allows.
        supported: a release promises this test; otherwise it is only reported.
        weight: share of the error rate that this test gets, beside the others.
        guards: what it is there for, in words.
        sequential: look at the examples in batches, and stop as soon as the answer is sure.
    """

    pool: Annotated[int, Field(ge=8)] | None = None
    uses: Positive | None = None
    supported: bool = True
    weight: Annotated[float, Field(gt=0)] = 1.0
    guards: Annotated[str, Field(max_length=200)] = ""
    sequential: bool = False

    @model_validator(mode="after")
    def _can_pass(self) -> Self:
        if self.margin == 0 and self.kind not in WITHOUT_EXAMPLES:
            raise ValueError(f"test {self.name}: margin is 0, so that no number of examples could pass it; give one")
        if self.sequential and self.kind in WITHOUT_EXAMPLES | BRINGS_ITS_OWN:
            raise ValueError(f"test {self.name}: kind {self.kind} is not looked at in batches; remove sequential")
        if self.pool is not None and self.pool < self.examples:
            raise ValueError(f"test {self.name}: {self.examples} examples of a pool of {self.pool}; enlarge the pool")
        if self.uses is not None and self.pool is None:
            raise ValueError(f"test {self.name}: uses limits what is drawn from a pool, and it has none; remove it")
        return self

    @property
    def at_hand(self) -> int:
        """Examples that must be there: all of the pool, where there is one."""
        return self.examples if self.pool is None else self.pool


class ProbeConfig(LookConfig):
    """A look at a channel's release after the channel moved there, compared with the release before.

    Attributes:
        margin: by how much, in the metric's unit, the release must be shown to be worse for the channel to move back.
    """


class SuiteConfig(Section):
    """The tests that a model must pass.

    Attributes:
        alpha: family-wise error rate of calling a worse model non-inferior.
        data: data sets by name. attachments: attached fine-tunes by name.
    """

    name: str = ""
    description: str = ""
    alpha: Fraction = 0.05
    data: dict[Name, DataSetConfig] = Field(default_factory=dict)
    attachments: dict[Name, DataSetConfig] = Field(default_factory=dict)
    tests: Annotated[tuple[AcceptanceTestConfig, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _tests_fit(self) -> SuiteConfig:
        names = [test.name for test in self.tests]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two tests have the same name, {name}")
        for test in self.tests:
            self.require_at_hand(test)
        return self

    def require_at_hand(self, look: LookConfig, what: str = "test") -> None:
        """Refuse a test or a probe of a data set or an attachment that the suite does not have.

        Args:
            what: it is, in words.

        Raises:
            ValueError: there is none of that name.
        """
        for lacked, name, known in (
            ("data set", look.data, self.data),
            ("data set", look.train, self.data),
            ("attachment", look.attachment, self.attachments),
        ):
            if name is not None and name not in known:
                raise ValueError(f"{what} {look.name}: no {lacked} {name!r}; there are {', '.join(known) or 'none'}")

    @property
    def digest(self) -> str:
        """Digest of the tests and of the data that they are pinned to; what a release names as passed."""
        parts = {"alpha", "data", "tests"} | ({"attachments"} if self.attachments else set())
        return digest_json(self.model_dump(mode="json", include=parts))


def find_suite(name: str, config: Path) -> Path:
    """The file of a suite that a run's file names.

    Looked for as ``NAME.toml`` and ``acceptance/NAME.toml`` beside that file, then among those that ship.

    Raises:
        ConfigMissingError: there is none of that name.
    """
    for path in (config.parent / f"{name}.toml", config.parent / "acceptance" / f"{name}.toml"):
        if path.is_file() and path != config:
            return path
    shipped = bundled("acceptance", name)
    if shipped is None:
        raise ConfigMissingError(
            f"no suite {name!r}: neither {config.parent / f'{name}.toml'} nor one that ships with Barnraise"
        )
    return shipped


def load_suite_config(path: Path) -> SuiteConfig:
    """Read and validate a suite's TOML file. The data files are not read.

    Raises:
        ConfigMissingError: no such file.
        ConfigUnknownKeyError: a key that nothing reads.
        ConfigValueError: not TOML, or a value out of range.
    """
    return parse_section(SuiteConfig, read_toml(path, example="configs/acceptance/stdlib-lm.toml"), source=str(path))
