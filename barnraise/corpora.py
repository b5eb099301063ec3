"""The data of a run by the name that ``[data] corpus`` gives it.

Whatever the examples are, they are bytes: text, which is cut into windows, or examples of one
length, one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Literal, Protocol, cast

from barnraise.corpus import Corpus
from barnraise.data_config import DataConfig, DigitsData, ForeignData, LocalData, StdlibData
from barnraise.digits import Digits
from barnraise.errors import ConfigValueError

__all__ = ["GROUP", "Source", "corpus_of"]

GROUP = "barnraise.corpora"
"""Entry points: classes that take the ``[data]`` of a run and have the shape of :class:`Source`."""


class Source(Protocol):
    """Where examples come from."""

    def text(self, shard: str, split: Literal["train", "held-out"]) -> bytes:
        """Everything of a shard that is trained on, or that is held out; the same bytes whenever it is asked.

        Raises:
            ConfigValueError: no such shard, or nothing in it.
        """
        ...


def corpus_of(data: DataConfig) -> Source:
    """The data that is on every machine.

    Raises:
        ConfigValueError: it is not: contributors bring their own, or no distribution here offers it.
    """
    match data:
        case StdlibData():
            return Corpus.of(data)
        case DigitsData():
            return Digits(data)
        case LocalData():
            raise ConfigValueError(
                "the run's text is what contributors bring, and its held-out text lies with the operator: name text "
                "of your own with --data, or, for tests, the run's folder as the suite"
            )
        case ForeignData():
            return _foreign(data)


def _foreign(data: ForeignData) -> Source:
    found = entry_points(group=GROUP, name=data.corpus)
    if not found:
        raise ConfigValueError(
            f"no corpus {data.corpus!r}: this Barnraise has python-stdlib, digits and local, and no installed "
            f"distribution offers it as an entry point of {GROUP}; install the one that does"
        )
    return _Foreign(data, next(iter(found)))


@dataclass(frozen=True)
class _Foreign:
    """A corpus of another distribution, whose mistakes are told as ours."""

    data: ForeignData
    offer: EntryPoint

    def text(self, shard: str, split: Literal["train", "held-out"]) -> bytes:
        try:
            return bytes(cast(Source, self.offer.load()(self.data)).text(shard, split))
        except Exception as error:  # somebody else's code raises anything
            raise ConfigValueError(
                f"corpus {self.data.corpus!r} of {self.offer.value} cannot be used: {type(error).__name__}: {error}"
            ) from error
