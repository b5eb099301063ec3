"""Make a run folder, or open one that exists: configuration, keys, acceptance data, ledger.

A run may be continued with a changed configuration, as long as it is still the same model on
the same data; everything else (rounds, merging, tests, ports) is the operator's to tune.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from barnraise.clock import now_ms
from barnraise.config import RunConfig, load_run_config
from barnraise.corpora import corpus_of
from barnraise.data_config import LocalData
from barnraise.errors import ConfigValueError, NotARunFolderError
from barnraise.identity import Identity
from barnraise.releases.durable import replace_file
from barnraise.releases.repository import Repository
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from barnraise.starting_folder import starting_folder
from barnraise.suite import find_suite
from coordinator.acceptance.examples import read_data_set
from coordinator.acceptance.heldout import HeldOut
from coordinator.acceptance.models.attachments import read_attachment
from coordinator.ledger import Ledger
from coordinator.ledger.events import RunCreated
from coordinator.masks import keep_mask
from coordinator.own_text import OwnText
from coordinator.starting_point import keep, take_over

__all__ = ["OpenRun", "open_run", "prepare_run"]

FIXED = ("name", "model", "data")


@dataclass(frozen=True)
class OpenRun:
    """A run folder with what its processes need from it."""

    folder: RunFolder
    config: RunConfig
    ledger: Ledger
    identity: Identity
    held_out_digest: str


def prepare_run(folder: RunFolder, source: Path | None) -> RunConfig:
    """Create the run in ``folder``, or check that ``source`` continues the one that is there.

    Args:
        source: TOML file; None continues an existing run as it is. The caller holds the lock.

    Raises:
        NotARunFolderError: nothing to continue.
        ConfigError: the file is missing or wrong, or describes another model or other data.
    """
    if source is None:
        config = load_run_config(folder.require().config)
    else:
        start = take_over(load_run_config(source), starting_folder(source))
        config = start.config
        if folder.config.exists():
            _require_same_model(load_run_config(folder.config), config, folder)
        folder.create()
        _copy_suite(folder, source, config)
        keep_mask(folder, source, config)
        keep(start, folder)
        replace_file(folder.config, source.read_bytes())
    BlobStore(folder.private).sweep()
    BlobStore(folder.public).sweep()
    identity = Identity.load_or_create(folder.key)
    Repository.found(folder, config.name, now_ms())
    ledger = Ledger.open(folder.ledger)
    try:
        if ledger.run() is None:
            _record_new_run(folder, config, ledger, identity, (source or folder.config).parent)
    finally:
        ledger.close()
    return config


def open_run(folder: RunFolder) -> OpenRun:
    """Open a run that :func:`prepare_run` has prepared; what the gateway and the conductor start from."""
    config = load_run_config(folder.require().config)
    ledger = Ledger.open(folder.ledger)
    created = next(iter(ledger.events_after(0, 1)), None)
    if created is None or not isinstance(created.event, RunCreated):
        raise NotARunFolderError(f"{folder.root} has an empty ledger; start it with: barnraise serve CONFIG --run DIR")
    identity = Identity.load_or_create(folder.key)
    return OpenRun(folder, config, ledger, identity, created.event.held_out_digest)


def _copy_suite(folder: RunFolder, source: Path, config: RunConfig) -> None:
    """Have the run's own copy of the suite that its file names, and what the suite pins in its stores.

    Raises:
        AcceptanceError: a data set or an attachment that is missing, or another one than the suite pins.
    """
    name, suite = config.acceptance.suite, source
    if name is not None:
        suite = find_suite(name, source)
        own = folder.suites / f"{name}.toml"
        if suite.resolve() != own.resolve():
            replace_file(own, suite.read_bytes())
    for read, files in ((read_data_set, config.acceptance.data), (read_attachment, config.acceptance.attachments)):
        for name_of_file, wanted in files.items():
            store = BlobStore(folder.private if wanted.hidden else folder.public)
            if not store.has(wanted.digest):
                store.put(read(suite.parent, name_of_file, wanted))


def _record_new_run(folder: RunFolder, config: RunConfig, ledger: Ledger, identity: Identity, beside: Path) -> None:
    """The run's first event, and its held-out examples.

    Args:
        beside: the folder of the run's file, where the patterns of held-out text begin.
    """
    data = config.data
    source = OwnText.of(beside, data.held_out) if isinstance(data, LocalData) else corpus_of(data)
    held_out = HeldOut.draw(source, config)
    digest = BlobStore(folder.private).put(held_out.serialise())
    created = RunCreated(config.name, config.digest, config.model_dump(mode="json"), identity.public, digest)
    ledger.record(created, at_ms=now_ms())


def _require_same_model(old: RunConfig, new: RunConfig, folder: RunFolder) -> None:
    for section in FIXED:
        if getattr(old, section) != getattr(new, section):
            raise ConfigValueError(
                f"{folder.root} holds run {old.name!r} and the file has another [{section}]; "
                "choose another folder with --run, or continue this one with: barnraise serve "
                f"{folder.root}"
            )
