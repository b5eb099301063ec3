"""Where a command reads releases from when nobody says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.output import JsonOption
from barnraise.errors import UsageError
from barnraise.releases.source import ReleaseSource, open_source
from barnraise.run_folder import RunFolder

__all__ = ["FromOption", "JsonOption", "MirrorOption", "TrustOption", "find_mirrors", "find_source", "is_source_usual"]

ENVIRONMENT = "BARNRAISE_FROM"
MIRRORS = "BARNRAISE_MIRRORS"
USUAL_FOLDERS = (Path("barnraise-run"), Path("demo-run"))

FromOption = Annotated[
    str | None,
    typer.Option("--from", help=f"Coordinator's URL, mirror, or folder. Default: ${ENVIRONMENT}, or a run right here."),
]

MirrorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mirror", help=f"Another source to fetch from, a URL or folder; several may be given. Default: ${MIRRORS}."
    ),
]

TrustOption = Annotated[
    str | None,
    typer.Option("--trust", help="Digest (b3:..) of a root of the run, or a root file. Default: what was pinned."),
]


def find_source(text: str | None) -> ReleaseSource:
    """The source that was named, else the one in the environment, else a run in this folder.

    Raises:
        UsageError: there is none of these, or the URL is of another kind.
        NotARunFolderError: the folder has nothing to pull.
    """
    named = text or os.environ.get(ENVIRONMENT)
    if named:
        return open_source(named)
    for folder in USUAL_FOLDERS:
        if RunFolder(folder).config.is_file():
            return open_source(str(folder))
    usual = " or ".join(f"./{folder}" for folder in USUAL_FOLDERS)
    raise UsageError(f"which run? There is no {usual} here. Name one: --from http://HOST:PORT, or --from FOLDER")


def is_source_usual() -> bool:
    """Whether :func:`find_source` finds one that nobody named."""
    return bool(os.environ.get(ENVIRONMENT)) or any(RunFolder(folder).config.is_file() for folder in USUAL_FOLDERS)


def find_mirrors(texts: list[str] | None) -> tuple[ReleaseSource, ...]:
    """The mirrors that were named, else those in the environment, separated by spaces.

    Raises:
        UsageError, NotARunFolderError: one of them is none.
    """
    return tuple(open_source(text) for text in texts or os.environ.get(MIRRORS, "").split())
