"""Where rounds and updates are read from: a coordinator over HTTP, or the ledger in a run's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from barnraise.cli.sources import find_source
from barnraise.errors import RefusedError, UsageError, VerificationError
from barnraise.message import Message
from barnraise.records import ContributorLines, RoundLines, RoundRecord, UpdateStory
from barnraise.releases.source import ReleaseSource
from barnraise.run_folder import RunFolder

__all__ = ["Rounds", "find_rounds"]

M = TypeVar("M", bound=Message)
NOT_HERE = "has releases only; rounds are told by a coordinator (http://HOST:PORT) and by the folder of its run"


@dataclass(frozen=True)
class Rounds:
    """Rounds of one run. ``label`` says where they come from.

    Attributes:
        lines: the newest rounds, as many as it is given. record: one round; the newest for None.
        story: of the update whose digest begins so.
        contributors: the ranking, of as many as it is given.
    """

    label: str
    lines: Callable[[int], RoundLines]
    record: Callable[[int | None], RoundRecord]
    story: Callable[[str], UpdateStory]
    contributors: Callable[[int], ContributorLines]


@contextmanager
def find_rounds(text: str | None) -> Iterator[Rounds]:
    """The run that was named, else the one that other commands find.

    Raises:
        UsageError: no run, or a mirror, which knows no rounds.
        LedgerVersionError, StorageError: the ledger of the folder cannot be read.
    """
    place = find_source(text)
    folder = RunFolder(Path(place.label))
    if hasattr(place, "ask"):
        yield _over_http(place)
    elif folder.config.is_file():
        with _in_folder(folder, place.label) as rounds:
            yield rounds
    else:
        raise UsageError(f"{place.label} {NOT_HERE}")


def _over_http(place: ReleaseSource) -> Rounds:
    from barnraise.releases.http_source import HttpSource

    assert isinstance(place, HttpSource)

    def record(number: int | None) -> RoundRecord:
        if number is None:
            number = _told(place, "/v1/rounds?limit=1", RoundLines).rounds[-1].number
        return _told(place, f"/v1/rounds/{number}", RoundRecord)

    return Rounds(
        place.label,
        lambda most: _told(place, f"/v1/rounds?limit={most}", RoundLines),
        record,
        lambda name: _told(place, f"/v1/updates/{name}/story", UpdateStory),
        lambda most: _told(place, f"/v1/contributors?limit={most}", ContributorLines),
    )


def _told(place: Any, path: str, message: type[M]) -> M:
    try:
        data = place.ask(path)
    except RefusedError as error:
        if error.status == 404 and not error.remote_code:
            raise UsageError(f"{place.label} {NOT_HERE}") from error
        raise
    try:
        return message.read(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"the answer of {place.label} is not JSON; it is no coordinator") from error


@contextmanager
def _in_folder(folder: RunFolder, label: str) -> Iterator[Rounds]:
    from barnraise.installation import require

    require("coordinator")
    from barnraise.config import load_run_config
    from coordinator.contributors import contributor_lines
    from coordinator.history import round_lines, round_record
    from coordinator.ledger import Ledger
    from coordinator.story import update_story

    config = load_run_config(folder.config)
    ledger = Ledger.open_reading(folder.ledger)
    try:
        yield Rounds(
            label,
            lambda most: round_lines(ledger, None, most),
            lambda number: round_record(ledger, config, number),
            lambda name: update_story(ledger, config, name),
            lambda most: contributor_lines(ledger, most),
        )
    finally:
        ledger.close()
