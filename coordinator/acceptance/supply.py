"""Where a suite's examples come from when no conductor hands them out.

    a run's folder       its own held-out windows and data sets: what the coordinator itself looks at
    a suite's file       data sets beside it; windows are drawn here, as a release's configuration says

Windows that are drawn here are those of the run when this Python has the same standard library;
the digest that a release states tells. With another one verdicts can be compared, and are not equal.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from barnraise.config import RunConfig, parse_run_config
from barnraise.corpora import corpus_of
from barnraise.digest import digest_bytes
from barnraise.errors import AcceptanceError, BlobMissingError
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.suite import AcceptanceTestConfig, DataSetConfig, SuiteConfig
from coordinator.acceptance.examples import Examples, parse_rows, read_data_set
from coordinator.acceptance.heldout import HeldOut
from coordinator.acceptance.models.attachments import Attachment, parse_attachment, read_attachment
from coordinator.acceptance.run_suite import AtHand

__all__ = ["HeldOutSource", "Supply", "drawn_here", "no_windows", "of_folder", "of_run"]


@dataclass(frozen=True)
class HeldOutSource:
    """Windows for the tests that read a shard.

    Attributes:
        windows: of a shard; None for one that has none. shown: whether reports may quote them.
        note: where they come from, for whoever reads a report; empty where that is plain.
    """

    windows: Callable[[str], Examples | None]
    shown: bool
    note: str = ""


@dataclass(frozen=True)
class Supply:
    """What the tests of a suite look at.

    Attributes:
        rows: examples of a data set, by its name. attachment: the one of a name; None where it is hidden from us.
    """

    held_out: HeldOutSource
    rows: Callable[[str], AtHand]
    attachment: Callable[[str], Attachment | None]

    def of(self, test: AcceptanceTestConfig) -> AtHand:
        """What there is for a test.

        Raises:
            AcceptanceError: a data set or an attachment that is missing or another one, or no windows.
        """
        found = self._examples(test)
        if test.attachment is None or found.skip:
            return found
        attachment = self.attachment(test.attachment)
        train = self.rows(test.train) if test.train is not None else AtHand()
        if attachment is None or train.skip:
            return _hidden(f"attachment {test.attachment}") if attachment is None else train
        return replace(found, examples=found.examples.beside(attachment, train.examples))

    def _examples(self, test: AcceptanceTestConfig) -> AtHand:
        if test.data is not None:
            return self.rows(test.data)
        if test.shard is None:
            return AtHand()
        found = self.held_out.windows(test.shard)
        return AtHand(found, self.held_out.shown) if found is not None else AtHand(shown=False)


def of_folder(suite: SuiteConfig, folder: Path, held_out: HeldOutSource) -> Supply:
    """Data sets beside a suite's file. A hidden one that is not there is left out, with a word.

    Raises:
        AcceptanceError: when asked for a data set that is missing, or another one than the suite pins.
    """
    known: dict[str, AtHand] = {}

    def rows(name: str) -> AtHand:
        if name not in known:
            wanted = suite.data[name]
            if wanted.hidden and not (folder / wanted.path).is_file():
                known[name] = _hidden(f"data set {name}")
            else:
                data = read_data_set(folder, name, wanted)
                known[name] = AtHand(parse_rows(data, wanted.digest, name), shown=not wanted.hidden)
        return known[name]

    @cache
    def attachment(name: str) -> Attachment | None:
        wanted = suite.attachments[name]
        if wanted.hidden and not (folder / wanted.path).is_file():
            return None
        return parse_attachment(read_attachment(folder, name, wanted), wanted.digest, name)

    return Supply(held_out, rows, attachment)


def of_run(folder: RunFolder, suite: SuiteConfig, held_out_digest: str) -> Supply:
    """What a coordinator itself looks at. Nothing of its windows is ever quoted.

    Args:
        held_out_digest: of the windows that were drawn when the run was made.

    Raises:
        AcceptanceError, BlobMissingError: they, or a data set, are not in the stores or were altered.
    """
    drawn = HeldOut.parse(BlobStore(folder.private).read(held_out_digest), held_out_digest)

    def windows(shard: str) -> Examples | None:
        return Examples.of_windows(drawn.windows[shard]) if shard in drawn.windows else None

    def rows(name: str) -> AtHand:
        wanted = suite.data[name]
        return AtHand(_stored(folder, name, wanted), shown=not wanted.hidden)

    @cache
    def attachment(name: str) -> Attachment | None:
        wanted = suite.attachments[name]
        return parse_attachment(_blob(folder, f"attachment {name}", wanted), wanted.digest, name)

    return Supply(HeldOutSource(windows, shown=False, note="the run's own windows of held-out text"), rows, attachment)


def _stored(folder: RunFolder, name: str, wanted: DataSetConfig) -> Examples:
    return parse_rows(_blob(folder, f"data set {name}", wanted), wanted.digest, name)


def _blob(folder: RunFolder, what: str, wanted: DataSetConfig) -> bytes:
    store = BlobStore(folder.private if wanted.hidden else folder.public)
    try:
        return store.read(wanted.digest)
    except BlobMissingError as error:
        raise AcceptanceError(
            f"{what}: {folder.root} has no file {wanted.digest[:15]}.. that the suite pins; put it back "
            "beside the suite and start the coordinator once"
        ) from error


def drawn_here(suite: SuiteConfig, config: RunConfig, stated: str) -> HeldOutSource:
    """Windows from the standard library of this Python.

    Args:
        config: of the run: what its shards are, and which files are held out.
        stated: digest of the run's own windows, as its releases state it; empty when that is not known.

    Raises:
        AcceptanceError: a shard has too little held-out text here.
        ConfigError: a test names a shard that the run does not have.
    """
    drawn = HeldOut.draw(corpus_of(config.data), config)
    same_text = digest_bytes(drawn.serialise()) == stated
    note = f"windows of held-out text were drawn here, from the library of Python {platform.python_version()}: "
    if _suffices(drawn, suite):
        note += "those of the run" if same_text else "not those of the run"
    else:
        drawn = HeldOut.draw(corpus_of(config.data), _with_suite(config, suite))
        note += "more than the run has" if same_text else "not those of the run"
    if not note.endswith(": those of the run"):
        note += f" ({digest_bytes(drawn.serialise())[:15]}..), so verdicts can be compared, not equated"

    def windows(shard: str) -> Examples | None:
        return Examples.of_windows(drawn.windows[shard]) if shard in drawn.windows else None

    return HeldOutSource(windows, shown=True, note=note)


def no_windows(tests: Sequence[AcceptanceTestConfig]) -> HeldOutSource:
    """For models that say nothing of a run, which is enough for a suite that reads no shard.

    Raises:
        AcceptanceError: a test reads one.
    """
    for test in tests:
        if test.shard is not None:
            raise AcceptanceError(
                f"test {test.name} reads held-out text of the shard {test.shard!r}, and neither model says what that "
                "is. Test a release (its run.json says it), or name a run's folder as the suite"
            )
    return HeldOutSource(lambda shard: None, shown=True)


def _suffices(drawn: HeldOut, suite: SuiteConfig) -> bool:
    """Whether a run's own windows are enough for a suite, which then looks at the first ones."""
    wanted = [(test.shard, test.at_hand) for test in suite.tests if test.shard is not None]
    return all(len(drawn.windows.get(shard, ())) >= count for shard, count in wanted)


def _with_suite(config: RunConfig, suite: SuiteConfig) -> RunConfig:
    """A run's configuration with the tests of another suite, and without probes, which are about its own data."""
    value = config.model_dump(mode="json")
    asked = suite.model_dump(mode="json", include={"alpha", "data", "attachments", "tests"})
    kept = {key: value["acceptance"][key] for key in ("check_examples", "check_pool", "check_margin")}
    return parse_run_config({**value, "acceptance": {**kept, **asked}, "channels": {}}, source="the suite")


def _hidden(what: str) -> AtHand:
    return AtHand(shown=False, skip=f"{what} is hidden: only the coordinator has it")
