"""The data of a run, as ``[data]`` states it.

    corpus           examples                                            shards
    python-stdlib    the source text of Python's own standard library    lists of modules and packages
    digits           1,797 handwritten digits that ship with Barnraise   lists of digits
    local            text that each contributor brings                   one, ``local``; a lease picks a part of it
    anything else    an entry point of another distribution              as it says

A shard is what one lease is about. Its examples are split: what is held out judges releases and is never trained on.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, Tag

from barnraise.sections import Section, named_by

__all__ = ["LOCAL", "DataConfig", "DigitsData", "ForeignData", "LocalData", "StdlibData"]

LOCAL = "local"
"""The one shard of a run whose contributors bring their own text."""

BUILT_IN = ("python-stdlib", "digits", "local")

ShardName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
Percent = Annotated[int, Field(ge=1, le=50)]


class StdlibData(Section):
    """Training text that is on every machine.

    Attributes:
        held_out_percent: share of files, by digest of their path, kept for acceptance.
        shards: name of a domain -> the modules and packages of the standard library in it.
    """

    corpus: Literal["python-stdlib"] = "python-stdlib"
    held_out_percent: Percent = 10
    shards: dict[ShardName, tuple[str, ...]]

    @property
    def learnt_from(self) -> str:
        """What a model of it learnt from, in words."""
        return self.corpus


class DigitsData(Section):
    """Handwritten digits.

    Attributes:
        held_out_percent: share of pictures, by their digest, kept for acceptance.
        shards: name -> digits. A digit that several name is dealt out among them, so no two have the same picture.
    """

    corpus: Literal["digits"]
    held_out_percent: Percent = 30
    shards: dict[ShardName, tuple[Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], ...]]

    @property
    def learnt_from(self) -> str:
        """What a model of it learnt from, in words."""
        return "digits"


def _pattern(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError(f"{text!a} is no path; name files of text, such as texts/*.txt")
    return text


class LocalData(Section):
    """Text that contributors have and that never leaves their machines.

    Attributes:
        held_out: the operator's own files for acceptance, as patterns such as ``texts/*.txt``, relative to the run's
            file. They are read once, when the run is made.
    """

    corpus: Literal["local"]
    held_out: Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], Field(min_length=1)]
    held_out_percent: ClassVar[int] = 0

    @property
    def shards(self) -> dict[str, tuple[str, ...]]:
        """One, which every lease is about."""
        return {LOCAL: ()}

    @property
    def learnt_from(self) -> str:
        """What a model of it learnt from, in words."""
        return "text that contributors brought and that never left their machines"


class ForeignData(Section):
    """Data that an entry point of another distribution knows.

    Attributes:
        corpus: its name. options: handed to it as they are.
        shards: name -> whatever it says of it.
    """

    corpus: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
    held_out_percent: Percent = 10
    shards: dict[ShardName, tuple[str, ...]]
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def learnt_from(self) -> str:
        """What a model of it learnt from, in words."""
        return self.corpus


DataConfig = Annotated[
    Annotated[StdlibData, Tag("python-stdlib")]
    | Annotated[DigitsData, Tag("digits")]
    | Annotated[LocalData, Tag("local")]
    | Annotated[ForeignData, Tag("foreign")],
    named_by("corpus", "python-stdlib", BUILT_IN),
]
