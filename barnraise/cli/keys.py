"""``barnraise keys``: who signs for a run, and how that changes. See docs/releasing.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from barnraise.cli.key_files import load_pair, load_public, new_pair, public_path
from barnraise.cli.output import print_result, print_warnings, table, wrapped
from barnraise.cli.proposals import (
    KeysOption,
    OutOption,
    Place,
    RunOption,
    apply,
    ask,
    find_place,
    go_on,
    read_proposal,
)
from barnraise.cli.sources import FromOption, JsonOption, TrustOption
from barnraise.clock import now_ms
from barnraise.errors import OrderRefusedError, UsageError
from barnraise.identity import Identity
from barnraise.releases.ceremony import Appoint, Rekey, Renew, Request, replacing, without
from barnraise.releases.charter import Charter
from barnraise.releases.endings import MAINTAINERS_TOLD, ending
from barnraise.releases.maintainer import KeyPair
from barnraise.releases.roles import as_time
from barnraise.run_folder import RunFolder

__all__ = ["keys"]

keys = typer.Typer(
    name="keys",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Show and change who signs for a run: maintainers, and the coordinator's online key.

    Example: barnraise keys show
    """,
)

PublicFile = Annotated[Path, typer.Argument(help="Public key of a maintainer, as made by: barnraise keys new")]
# Typer reads a command's options from its own signature, so each command lists them; what they say is here once.
FolderRequired = Annotated[Path, typer.Option("--run", help="The run's folder, on the coordinator's machine.")]
FolderOption = Annotated[Path | None, typer.Option("--run", help="The run's folder, on the coordinator's machine.")]
Threshold = Annotated[int | None, typer.Option("--threshold", help="How many maintainers have to sign from now on.")]


@keys.command()
def new(
    file: Annotated[Path, typer.Argument(help="Where to put the private key; the public one is FILE.pub.")],
    name: Annotated[str, typer.Option("--name", help="By what name others know you: ada.")],
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase to encrypt it with.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a maintainer's key pair.

    Example: barnraise keys new ada.key --name ada
    """
    public, is_new = new_pair(file, name, with_passphrase=passphrase)
    result = {**public.model_dump(), "private_file": str(file), "public_file": str(public_path(file)), "made": is_new}
    human = [
        f"{file}: {'made' if is_new else 'was there already'}; keep it to yourself, off the coordinator's machine",
        f"{public_path(file)}: hand it to whoever runs barnraise keys init or add",
        f"{public.name} {public.public}",
    ]
    print_result("keys", result, as_json=as_json, human="\n".join(human))


@keys.command()
def init(
    run: FolderRequired,
    maintainers: Annotated[list[Path], typer.Option("--maintainer", help="A public key; once for each of them.")],
    threshold: Annotated[int, typer.Option("--threshold", help="How many of them have to sign.")],
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hand a run over to its maintainers.

    Until then a bootstrap key stands in for them, and nobody can promote.

    Example: barnraise keys init --maintainer ada.key.pub --maintainer grace.key.pub --threshold 2 --run ./my-run
    """
    place = find_place(run, None)
    if place.charter.has_maintainers:
        raise OrderRefusedError(
            f"{place.run} has maintainers already. To change them: barnraise keys add, rotate or revoke"
        )
    request = Appoint(maintainers=tuple(load_public(path) for path in maintainers), threshold=threshold)
    ask("keys", place, request, _bootstrap(place), out, as_json)


@keys.command()
def add(
    key: PublicFile,
    threshold: Threshold = None,
    run: RunOption = None,
    source: FromOption = None,
    trust: TrustOption = None,
    signing_keys: KeysOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose another maintainer.

    Example: barnraise keys add barbara.key.pub --from http://127.0.0.1:8000 --key ada.key
    """
    place = find_place(run, source, trust)
    _require_maintainers(place)
    everybody = (*place.charter.maintainers, load_public(key))
    request = Appoint(maintainers=everybody, threshold=threshold or place.charter.threshold)
    ask("keys", place, request, _pairs(signing_keys), out, as_json)


@keys.command()
def rotate(
    what: Annotated[Literal["online", "maintainer"], typer.Argument(help="The coordinator's key, or a maintainer's.")],
    who: Annotated[str | None, typer.Argument(help="Of a maintainer: whose key is replaced.")] = None,
    key: Annotated[Path | None, typer.Argument(help="Of a maintainer: the new public key.")] = None,
    run: RunOption = None,
    source: FromOption = None,
    trust: TrustOption = None,
    signing_keys: KeysOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose a new key in the place of an old one.

    Example: barnraise keys rotate online --run ./my-run
    """
    place = find_place(run, source, trust)
    if what == "online":
        if who is not None:
            raise UsageError("there is one online key; nobody has to be named")
        ask("keys", place, _new_online_key(place), [*_bootstrap(place), *_pairs(signing_keys)], out, as_json)
        return
    if who is None or key is None:
        raise UsageError("whose key, and which instead? barnraise keys rotate maintainer ada ada-2.key.pub")
    ask("keys", place, replacing(place.charter, who, load_public(key)), _pairs(signing_keys), out, as_json)


@keys.command()
def revoke(
    who: Annotated[str, typer.Argument(help="A maintainer's name, or how the key begins.")],
    threshold: Threshold = None,
    run: RunOption = None,
    source: FromOption = None,
    trust: TrustOption = None,
    signing_keys: KeysOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose to remove a maintainer.

    Example: barnraise keys revoke barbara --from http://127.0.0.1:8000 --key ada.key
    """
    place = find_place(run, source, trust)
    ask("keys", place, without(place.charter, who, threshold), _pairs(signing_keys), out, as_json)


@keys.command()
def renew(
    threshold: Threshold = None,
    run: RunOption = None,
    source: FromOption = None,
    trust: TrustOption = None,
    signing_keys: KeysOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Propose the same for another year.

    What maintainers sign lasts for 365 days. With --threshold another number of them has to sign from now on.

    Example: barnraise keys renew --from http://127.0.0.1:8000 --key ada.key
    """
    place = find_place(run, source, trust)
    request: Request = Renew()
    if threshold is not None and threshold != place.charter.threshold:
        _require_maintainers(place)
        request = Appoint(maintainers=place.charter.maintainers, threshold=threshold)
    ask("keys", place, request, [*_bootstrap(place), *_pairs(signing_keys)], out, as_json)


@keys.command()
def sign(
    proposal: Annotated[Path, typer.Argument(help="The file that was handed on.")],
    signing_keys: KeysOption = None,
    run: RunOption = None,
    source: FromOption = None,
    trust: TrustOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a proposal, and sign it with --key.

    The file is replaced by the signed one. With --from it is first compared with the run as it is now.

    Example: barnraise keys sign tiny-lm-promote-0.1.2.proposal --key ada.key
    """
    place = find_place(run, source, trust) if run is not None or source is not None else None
    go_on("keys", proposal, place, signing_keys or [], out, as_json)


@keys.command(name="apply")
def apply_(
    proposal: Annotated[Path, typer.Argument(help="The file, signed by enough.")],
    run: FolderRequired,
    as_json: JsonOption = False,
) -> None:
    """Have a proposal take effect that enough have signed.

    Once more does no harm.

    Example: barnraise keys apply tiny-lm-promote-0.1.2.proposal --run ./my-run
    """
    apply("keys", read_proposal(proposal), RunFolder(run), as_json)


@keys.command()
def show(
    run: FolderOption = None, source: FromOption = None, trust: TrustOption = None, as_json: JsonOption = False
) -> None:
    """Show who signs what, and until when it holds.

    Example: barnraise keys show --from http://127.0.0.1:8000
    """
    place = find_place(run, source, trust)
    warnings = list(_soon(place.charter, now_ms()))
    print_warnings(warnings, as_json=as_json)
    result = {"run": place.run, "root_digest": place.root_digest, **_shown(place.charter), "warnings": warnings}
    print_result("keys", result, as_json=as_json, human="\n".join(_words(place, result)))


def _pairs(paths: list[Path] | None) -> list[KeyPair]:
    return [load_pair(path) for path in paths or []]


def _bootstrap(place: Place) -> list[KeyPair]:
    """The key that stands in for maintainers until there are some, where it is at hand."""
    if place.charter.has_maintainers or place.folder is None or not place.folder.root_key.exists():
        return []
    return [KeyPair(Identity.load(place.folder.root_key).private_key)]


def _require_maintainers(place: Place) -> None:
    if not place.charter.has_maintainers:
        raise OrderRefusedError(f"{place.run} has no maintainers yet. Begin with: barnraise keys init")


def _new_online_key(place: Place) -> Request:
    from barnraise.installation import require

    require("coordinator")
    from coordinator.ceremonies import new_online_key

    if place.folder is None:
        raise UsageError("the online key is made on the coordinator's machine: --run RUN")
    return Rekey(public=new_online_key(place.folder).public)


def _shown(charter: Charter) -> dict[str, Any]:
    root, targets = charter.root.signed, charter.targets.signed
    stable = charter.stable.signed if charter.stable else None
    return {
        "has_maintainers": charter.has_maintainers,
        "threshold": charter.threshold,
        "maintainers": [key.model_dump() for key in charter.maintainers],
        "online": charter.online,
        "root": {"version": root.version, "expires": f"{root.expires:%Y-%m-%d}"},
        "targets": {"version": targets.version, "expires": f"{targets.expires:%Y-%m-%d}"},
        "stable": {"version": stable.version, "expires": f"{stable.expires:%Y-%m-%d}"} if stable else None,
        "promoted": [release.version for release in charter.promoted],
    }


def _soon(charter: Charter, at_ms: int) -> Iterator[str]:
    """What is to be signed again before long."""
    for role, at in ending(charter.expires, as_time(at_ms), MAINTAINERS_TOLD).items():
        yield f"{role} holds until {at:%Y-%m-%d}; sign it again before: barnraise keys renew"


def _words(place: Place, shown: dict[str, Any]) -> list[str]:
    charter = place.charter
    held = ", ".join(key.name for key in charter.maintainers) if charter.has_maintainers else "the bootstrap key"
    who = f"{charter.threshold} of {held}" if charter.has_maintainers else held
    rows = [
        (role, str(shown[role]["version"]), shown[role]["expires"], who)
        for role in ("root", "targets", "stable")
        if shown[role]
    ]
    rows += [(role, "-", "renewed", "the online key") for role in ("snapshot", "timestamp", "nightly")]
    count = len(charter.maintainers) if charter.has_maintainers else 0
    lines = [f"{place.run}: {count or 'no'} maintainer{'' if count == 1 else 's'}"]
    lines += ["", *table(("ROLE", " VERSION", "UNTIL", "SIGNED BY"), rows), ""]
    named = [(key.name, key.public) for key in charter.maintainers] if charter.has_maintainers else []
    lines += table(("NAME", "KEY"), [*named, ("online", charter.online)])
    lines += ["", *wrapped(f"promoted: {', '.join(shown['promoted']) or 'none yet'}", "  ")]
    lines += ["", "who pulls with this root is shown nothing from before it:", f"--trust {place.root_digest}"]
    if not charter.has_maintainers:
        lines += wrapped("Nobody can promote yet. To hand the run over to maintainers: barnraise keys init")
    return lines
