"""``barnraise identity export`` and ``import``: a key goes to another machine, encrypted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.nodes import HomeOption, node_home
from barnraise.cli.output import print_result
from barnraise.cli.own_key import KeyOption, key_file, present
from barnraise.cli.sources import JsonOption
from barnraise.errors import ConfigMissingError, ConfigValueError, UsageError
from barnraise.identity import Identity
from barnraise.narrate import short
from barnraise.private_file import create_private

__all__ = ["export", "import_"]

PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Its first line is the passphrase; asked for by default.")
]


def export(
    file: Annotated[Path, typer.Argument(help="Where to put it; must not exist.")],
    key: KeyOption = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write your key to FILE, encrypted with a passphrase, to use it on another machine or keep it safe.

    Example: barnraise identity export ada.barnraise-key
    """
    from barnraise.identity_export import sealed
    from contributor.first_use import load_card

    path = key_file(key)
    mine = present(path)
    data = sealed(mine, load_card(path, mine.public), _passphrase(passphrase_file, new=True))
    try:
        create_private(file, data)
    except FileExistsError as error:
        raise ConfigValueError(f"{file} is there already and is not overwritten; choose another name") from error
    human = f"{file} holds {short(mine.public)}, encrypted\nthere: barnraise identity import {file}"
    print_result("identity", {"file": str(file), "public": mine.public}, as_json=as_json, human=human)


def import_(
    file: Annotated[Path, typer.Argument(help="As made by: barnraise identity export")],
    key: KeyOption = None,
    home: HomeOption = None,
    passphrase_file: PassphraseOption = None,
    in_place_of_old: Annotated[
        bool, typer.Option("--in-place-of-old", help="It replaces the key that is here, which is kept beside it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Use the key in FILE on this machine; one that is here already is not overwritten.

    Example: barnraise identity import ada.barnraise-key
    """
    from barnraise.identity_export import opened
    from contributor.first_use import store_card
    from contributor.key_change import bring

    path = key_file(key)
    if path.exists() and not in_place_of_old:
        raise ConfigValueError(
            f"{path} holds a key already, {short(Identity.load(path).public)}, and is not overwritten. If the new one "
            "replaces it: --in-place-of-old"
        )
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise ConfigMissingError(f"there is no file {file}; see: barnraise identity export --help") from error
    mine, card = opened(data, _passphrase(passphrase_file, new=False))
    brought = bring(node_home(home), path, mine)
    if card is not None:
        store_card(path, card)
    lines = [f"{path} holds {short(mine.public)} now"]
    if brought.kept is not None:
        lines.append(f"the old key is kept in {brought.kept}; delete it when all is well")
    lines += [f"{folder} could not be moved along: the new key has a folder there already" for folder in brought.left]
    result = {"public": mine.public, "file": str(path), "not_moved": [str(folder) for folder in brought.left]}
    print_result("identity", result, as_json=as_json, human="\n".join(lines))


def _passphrase(file: Path | None, *, new: bool) -> str:
    if file is not None:
        return (file.read_text(encoding="utf-8").splitlines() or [""])[0]
    if not sys.stdin.isatty():
        raise UsageError("nobody is at a terminal to type a passphrase; give a file: --passphrase-file FILE")
    return str(typer.prompt("passphrase", hide_input=True, confirmation_prompt=new, err=True))
