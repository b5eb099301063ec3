"""``barnraise identity``: the key that signs for you, and how another takes its place. See docs/identity.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnraise.cli.identity_files import export, import_
from barnraise.cli.nodes import HomeOption, node_home
from barnraise.cli.output import print_result, wrapped
from barnraise.cli.own_key import KeyOption, key_file, present
from barnraise.cli.sources import JsonOption
from barnraise.clock import now_ms
from barnraise.errors import UnreachableError
from barnraise.narrate import short

if TYPE_CHECKING:
    from barnraise.key_messages import KeyHistory

__all__ = ["identity"]

identity = typer.Typer(
    name="identity",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Show the key that signs for you, take it to another machine, replace it.

    Example: barnraise identity show
    """,
)

CodeOption = Annotated[Path | None, typer.Option("--code-file", help="Holds the recovery code; asked for by default.")]


@identity.command()
def show(
    url: Annotated[str | None, typer.Argument(help="A coordinator: what does it know of the key?")] = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the key that signs for you; it is made when there is none yet.

    Example: barnraise identity show http://127.0.0.1:8000
    """
    from contributor.first_use import first_use

    path = key_file(key)
    found = first_use(path)
    public, made = found.identity.public, found.code is not None
    code_in = _greeted(path, found.code, as_json)
    history = None
    if url is not None:
        with _naming(url):
            history = _client(url).key_history(public)
    lines = [public]
    lines += wrapped(f"its private half is in {path}{', made just now' if made else ''}; keep it to yourself")
    if found.card is None:
        lines += wrapped(
            "no recovery code goes with this very key; runs that know one of yours keep it, for others make one: "
            "barnraise identity new-code"
        )
    if url is not None:
        lines += _told(history, public) if history is not None else [f"{url} has never seen this key"]
    result = {
        "public": public,
        "file": str(path),
        "made": made,
        "recovery_key": found.card.key if found.card is not None else None,
        "recovery_code_file": code_in,
        "history": history.model_dump(mode="json") if history is not None else None,
    }
    print_result("identity", result, as_json=as_json, human="\n".join(lines))


identity.command()(export)
identity.command(name="import")(import_)


@identity.command()
def rotate(
    key: KeyOption = None,
    home: HomeOption = None,
    without: Annotated[list[str] | None, typer.Option("--without", metavar="RUN", help="Leave RUN out.")] = None,
    code_file: Annotated[
        Path | None, typer.Option("--code-file", help="Your recovery code, for runs that you join later.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replace your key by a new one in every run that it works for; the history stays yours.

    Stop your nodes first, and join again afterwards.

    Example: barnraise identity rotate
    """
    from barnraise.cli.first_use import typed_code
    from contributor.key_change import KeyChanges

    path = key_file(key)
    present(path)
    code = typed_code(code_file) if code_file is not None else None
    done = KeyChanges(node_home(home), now_ms).rotate(path, frozenset(without or ()), code)
    lines = [f"{done.new}\nsigns for you now, in place of {short(done.old)}"]
    for history in done.histories:
        lines += wrapped(f"{history.run}: {history.reason}", "  ")
    lines += wrapped(
        f"the old key is kept in {done.kept}"
        + (f", and is still the one of {', '.join(done.left)}" if done.left else "; delete it when all is well")
    )
    result = {
        "old": done.old,
        "new": done.new,
        "kept": str(done.kept),
        "runs": [history.run for history in done.histories],
        "left": list(done.left),
    }
    print_result("identity", result, as_json=as_json, human="\n".join(lines))


@identity.command()
def recover(
    url: Annotated[str, typer.Argument(help="The coordinator of the run that the lost key worked for.")],
    key: KeyOption = None,
    home: HomeOption = None,
    code_file: CodeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for the place of a lost key with its recovery code; the key that is here, or a new one, gets it.

    The lost key, if somebody has it, can object for some days. Join as usual meanwhile: the node waits.

    Example: barnraise identity recover http://127.0.0.1:8000
    """
    from barnraise.cli.first_use import typed_code
    from contributor.key_change import KeyChanges
    from contributor.transport import base_url

    code = typed_code(code_file)
    with _naming(url):
        history = KeyChanges(node_home(home), now_ms).recover(base_url(url), key_file(key), code)
    _print_history(history, as_json)


@identity.command(name="object")
def object_(
    urls: Annotated[list[str] | None, typer.Argument(help="More coordinators than those this machine knows.")] = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Object to a recovery that is not yours: somebody has your recovery code. You get another one.

    Example: barnraise identity object
    """
    from barnraise.recovery import RecoveryCode
    from contributor.first_use import store_card
    from contributor.key_change import KeyChanges

    path = key_file(key)
    mine = present(path)
    told = KeyChanges(node_home(home), now_ms).object(mine, urls or ())
    code = RecoveryCode.make()
    store_card(path, code.card_for(mine.public))
    code_in = _greeted(path, code, as_json)
    lines = [line for history in told for line in wrapped(f"{history.run}: {history.reason}", "  ")]
    result = {"runs": [history.run for history in told], "recovery_code_file": code_in}
    print_result("identity", result, as_json=as_json, human="\n".join(lines))


@identity.command(name="new-code")
def new_code(key: KeyOption = None, as_json: JsonOption = False) -> None:
    """Make a recovery code for your key, and show it once.

    A run keeps the first code that it sees of you; this one counts in runs that know none yet.

    Example: barnraise identity new-code
    """
    from barnraise.recovery import RecoveryCode
    from contributor.first_use import store_card

    path = key_file(key)
    mine, code = present(path), RecoveryCode.make()
    store_card(path, code.card_for(mine.public))
    code_in = _greeted(path, code, as_json)
    human = "it counts in every run that knows no code of yours yet, from your next lease on"
    result = {"public": mine.public, "recovery_key": code.identity.public, "recovery_code_file": code_in}
    print_result("identity", result, as_json=as_json, human=human)


def _client(url: str) -> Any:
    from contributor.client import GatewayClient

    return GatewayClient.connect(url)


@contextmanager
def _naming(url: str) -> Iterator[None]:
    """Say which coordinator did not answer, and what finds out why."""
    try:
        yield
    except UnreachableError as error:
        raise UnreachableError(f"{url} does not answer: {error}. Find out why: barnraise doctor {url}") from error


def _greeted(path: Path, code: Any, as_json: bool) -> str | None:
    from barnraise.cli.first_use import greet

    if code is None:
        return None
    file = greet(path, code, as_json=as_json)
    return str(file) if file is not None else None


def _told(history: KeyHistory, mine: str) -> list[str]:
    """What a run knows of whoever has, had or will have a key, in words."""
    pending = history.pending
    hours = 0.0 if pending is None else max(0, pending.effective_at_ms - now_ms()) / 3_600_000
    if pending is not None and pending.new == mine:
        who = f"{short(history.contributor)} of {history.run}"
        return wrapped(f"this key takes the place of {who} in {hours:.1f} h, unless the key in use objects", "  ")
    if history.contributor == history.keys[-1].key:
        lines = [f"in {history.run} you are {short(history.contributor)}"]
    else:
        chain = " -> ".join(short(step.key) for step in history.keys)
        lines = wrapped(f"in {history.run} you are {short(history.contributor)}; your keys: {chain}", "  ")
    lines.append("a recovery code is registered there" if history.recovery else "no recovery code is registered there")
    if pending is not None:
        lines += wrapped(
            f"WATCH OUT: key {short(pending.new)} takes the place of yours in {hours:.1f} h. If that is not "
            "you: barnraise identity object",
            "  ",
        )
    if history.banned is not None:
        lines += wrapped(f"you may not contribute: {history.banned}", "  ")
    return lines


def _print_history(history: KeyHistory, as_json: bool) -> None:
    lines = [*wrapped(f"{history.run}: {history.reason}", "  ")]
    if history.pending is not None:
        lines += wrapped("until then a node that joins with the new key waits; ask again to see how long", "  ")
    print_result("identity", history.model_dump(mode="json"), as_json=as_json, human="\n".join(lines))
