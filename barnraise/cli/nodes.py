"""Which of this machine's nodes a command means: options, and finding it. One node needs no option."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnraise.errors import UsageError

if TYPE_CHECKING:
    from contributor.control.finding import FoundNode

__all__ = ["HomeOption", "KeyOption", "RunNameOption", "find_node", "node_home", "nodes_here", "options_given"]

RunNameOption = Annotated[str | None, typer.Option("--run", help="Name of the node's run, where there are several.")]
HomeOption = Annotated[Path | None, typer.Option("--home", help="Where nodes keep their state, as join was told.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="The node's key: its file, or how its public half begins.")
]


def find_node(run: str | None, home: Path | None, key: str | None) -> FoundNode:
    """The node that is meant.

    Raises:
        NoNodeError: there is none.
        UsageError: several could be meant, or --key is neither a file nor 8 digits of a key.
    """
    from contributor.control.finding import choose

    return choose(nodes_here(home), node_home(home), run, _public(key) if key is not None else None)


def nodes_here(home: Path | None) -> list[FoundNode]:
    """Every node of this user, or below ``home``."""
    from contributor.control.finding import known_nodes

    return known_nodes(node_home(home))


def node_home(home: Path | None) -> Path:
    """The folder that was named, else the user's, which holds the folders of nodes."""
    from contributor.folder import state_home  # numpy is enough for it: what runs a node need not be installed

    return home or state_home()


def _public(key: str) -> str:
    """The public key of a key file, or what was given of one."""
    if Path(key).is_file():
        from barnraise.identity import Identity

        return Identity.load_or_create(Path(key)).public
    if len(key) >= 8 and all(digit in "0123456789abcdef" for digit in key):
        return key
    raise UsageError(f"--key {key[:80]!a} is no file, and not the first 8 or more hex digits of a public key")


def options_given(**paths: Path | None) -> str:
    """The options by which a command was told where to look, for the shell, to be said again; "" where it was not."""
    return "".join(f" --{name} {shlex.quote(str(path))}" for name, path in paths.items() if path is not None)
