"""Models by the names that people give them: a release, a folder, an update that is not merged yet.

    stdlib-lm@^0.1, 0.1.2, nightly    a release of the source; it is pulled into the user's cache, verified
    ./model                           a folder that a release was pulled into, or that other software wrote
    ./change.update                   the model that the update makes of its base, which has to be at hand

P  parameters
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.api import pull
from barnraise.config import RunConfig, parse_run_config
from barnraise.errors import UsageError, WrongBaseError
from barnraise.model_config import ModelConfig
from barnraise.releases.derived.names import derived_names
from barnraise.releases.installed import Installed
from barnraise.releases.layout import RELEASE_FILE, RUN_FILE
from barnraise.releases.manifest import Manifest
from barnraise.releases.source import ReleaseSource
from barnraise.releases.trust import TrustOptions, read_index
from barnraise.run_folder import RunFolder
from barnraise.updates import Update, apply_update
from barnraise.updates.header import Header
from barnraise.updates.space import ParameterSpace, model_digest
from barnraise.versions import split_spec
from coordinator.acceptance.models.subject import Subject
from coordinator.acceptance.models.trunks import Side, trunk_subject
from coordinator.acceptance.run_suite import Contender

__all__ = ["Finder", "Settled", "Trunk"]


@dataclass(frozen=True)
class Trunk:
    """A model of a run, loaded.

    Attributes:
        flat_P: float32 [P]. side: a file that travels with it, by its digest.
    """

    digest: str
    model: ModelConfig
    space: ParameterSpace
    flat_P: NDArray[np.float32]
    side: Side

    def subject(self) -> Subject:
        return trunk_subject(self.flat_P, self.model, self.space, self.side)


@dataclass(frozen=True)
class Settled:
    """A model that was found.

    Attributes:
        trunk: what it is, where it is a model of a run.
        parent: (version, model digest) of the release that it changes; ``made_from``: that, if it is at hand.
        folder: where it lies.
        settings: ``run.json`` of the release, with the run's configuration; empty without one.
    """

    contender: Contender
    trunk: Trunk | None = None
    parent: tuple[str, str] | None = None
    made_from: Settled | None = None
    folder: Path | None = None
    settings: str = ""

    def run(self) -> tuple[RunConfig, str] | None:
        """The run's configuration and the digest of its held-out windows; None where nothing says so.

        Raises:
            ConfigError: a configuration that this Barnraise does not know.
        """
        if not self.settings:
            return None
        value: dict[str, Any] = json.loads(self.settings)
        if "data" not in value.get("run", {}):
            return None
        return parse_run_config(value["run"], source=f"{self.folder}/{RUN_FILE}"), str(value.get("held_out", ""))


@dataclass(frozen=True)
class Finder:
    """Finds models.

    Attributes:
        source: where releases are pulled from, when one is needed; raises where nobody named any.
        trust: of the run there, a digest or a file. tell: gets a line before something takes long.
    """

    source: Callable[[], ReleaseSource]
    trust: str | None = None
    tell: Callable[[str], None] = lambda _: None

    def find(self, text: str, against: Settled | None = None) -> Settled:
        """The model of a name.

        Args:
            against: a model that is at hand, as the base of an update.

        Raises:
            UsageError: nothing has that name.
            UpdateError: an update that is damaged, or whose base is not at hand.
            BarnraiseError: a model that cannot be loaded.
        """
        path = Path(text)
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return self._update(path, against)
        if "/" in text or text.startswith("."):
            raise UsageError(f"{text} is no file and no folder; name a release, such as NAME@^0.1, or a path")
        return self._release(text)

    def parent(self, settled: Settled) -> Settled | None:
        """The release that a model changes, pulled from the source; None where it changes none."""
        if settled.parent is None or settled.made_from is not None:
            return settled.made_from
        version, digest = settled.parent
        found = self._release(version)
        if found.contender.digest != digest:
            raise UsageError(
                f"{settled.contender.label} changes {version}, model {digest[:15]}..; the {version} of "
                f"{self.source().label} is {found.contender.digest[:15]}... Name another source with --from, "
                "or what to compare with, with --against"
            )
        return found

    def _release(self, text: str) -> Settled:
        place = self.source()
        index = read_index(place, TrustOptions.of(self.trust)).index
        name, _ = split_spec(text)
        spec = text if "@" in text or name in {index.name, *derived_names(index)} else f"{index.name}@{text}"
        self.tell(f"pulling {spec} from {place.label}")
        return _folder(pull(spec, source=place.label, trust=self.trust).folder)

    def _update(self, path: Path, against: Settled | None) -> Settled:
        """Base plus update."""
        data = path.read_bytes()
        header, _ = Header.decode(memoryview(data))
        base = against if against is not None and against.contender.digest == header.base else self._base(path, header)
        if base.trunk is None:
            raise WrongBaseError(f"{path} changes {base.contender.label}, which is no model of a run")
        update = Update.parse(data, base.trunk.space, base_digest=header.base)
        flat_P = apply_update(base.trunk.flat_P, update)
        digest = model_digest(update.space, update.space.tensor_digests(flat_P))
        made = Trunk(digest, base.trunk.model, update.space, flat_P, base.trunk.side)
        label = f"{base.contender.label} plus {path.name}"
        found = Contender(label, digest, made.subject)
        return Settled(found, made, made_from=base, folder=path, settings=base.settings)

    def _base(self, path: Path, header: Header) -> Settled:
        place = self.source()
        index = read_index(place, TrustOptions.of(self.trust)).index
        for entry in index.releases:
            if entry.model_digest == header.base:
                return self._release(entry.version)
        raise WrongBaseError(
            f"{path} changes the model {header.base[:15]}.., which is no release of {place.label}; "
            "name its base with --against, or another source with --from"
        )


def _folder(path: Path) -> Settled:
    if (path / RELEASE_FILE).exists():
        return _installed(path)
    if RunFolder(path).config.is_file():
        raise UsageError(f"{path} holds a whole run; name one of its releases, such as 0.1.0 --from {path}")
    from coordinator.acceptance.models.folder_subject import open_folder

    subject = open_folder(path)
    return Settled(Contender(path.name or str(path), subject.digest, lambda: subject), folder=path)


def _installed(path: Path) -> Settled:
    installed = Installed.read(path)
    manifest = installed.manifest
    label = f"{manifest.name} {manifest.version}"
    if not isinstance(manifest, Manifest):
        from coordinator.acceptance.models.folder_subject import open_folder

        subject = open_folder(path)
        return Settled(Contender(label, subject.digest, lambda: subject), folder=path)
    flat_P = installed.flat()
    digest = manifest.model_digest
    if installed.is_converted:
        digest = model_digest(installed.space, installed.space.tensor_digests(flat_P))
        label += f" as {installed.note.dtype}"
    names = {file.blob.digest: file.name for file in manifest.files}
    trunk = Trunk(digest, manifest.model, installed.space, flat_P, lambda named: installed.side(names.get(named, "")))
    parent = (manifest.parent.version, manifest.parent.model_digest) if manifest.parent is not None else None
    settings = (installed.side(RUN_FILE) or b"").decode("utf-8")
    return Settled(Contender(label, digest, trunk.subject), trunk, parent, folder=path, settings=settings)
