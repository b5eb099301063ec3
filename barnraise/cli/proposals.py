"""What all commands for signing share: where a run's metadata is read, a proposal as file, words and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from barnraise.cli.key_files import load_pair
from barnraise.cli.output import print_result, print_warnings, wrapped
from barnraise.cli.sources import find_source
from barnraise.clock import now_ms
from barnraise.digest import digest_bytes
from barnraise.errors import ConfigMissingError, UsageError
from barnraise.releases.ceremony import Promote, Request, Withdraw
from barnraise.releases.charter import Charter, newest_root
from barnraise.releases.durable import replace_file
from barnraise.releases.index import ReleaseIndex
from barnraise.releases.maintainer import KeyPair
from barnraise.releases.offline import Offline
from barnraise.releases.proposal import MOST_BYTES, Signing, check_base, propose
from barnraise.releases.roles import run_name
from barnraise.releases.source import open_source
from barnraise.releases.trust import TrustOptions, read_index
from barnraise.run_folder import RunFolder

__all__ = ["KeysOption", "OutOption", "Place", "RunOption", "ask", "find_place", "go_on", "read_proposal"]

RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run", help="The run's folder, on the coordinator's machine; what enough have signed takes effect at once."
    ),
]
KeysOption = Annotated[
    list[Path] | None, typer.Option("--key", help="Sign with this private key. May be given several times.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Where to write the proposal.")]


@dataclass(frozen=True)
class Place:
    """A run as its maintainers' metadata has it.

    Attributes:
        root_digest: of the newest root, as ``--trust`` takes it.
        folder: where it can be changed; None where it can only be read.
    """

    run: str
    charter: Charter
    root_digest: str
    folder: RunFolder | None
    _index: ReleaseIndex | None

    @property
    def index(self) -> ReleaseIndex:
        """All releases and channels."""
        if self._index is not None:
            return self._index
        assert self.folder is not None
        return read_index(open_source(str(self.folder.root))).index


def find_place(run: Path | None, source: str | None, trust: str | None = None) -> Place:
    """The run in a folder (``--run``), or behind any source of releases (``--from``).

    Raises:
        UsageError: both, or no run found.
        NotARunFolderError, VerificationError, NetworkError: it cannot be read.
    """
    if run is not None and source is not None:
        raise UsageError("--run names a coordinator's folder and --from any source to read from; give one of them")
    if run is not None:
        folder = RunFolder(run).require()
        offline = Offline.read(folder.offline)
        return Place(run_name(offline.root), Charter.of(offline), digest_bytes(offline.roots[-1]), folder, None)
    found = read_index(find_source(source), TrustOptions.of(trust))
    root_digest = digest_bytes(newest_root(found.provenance))
    return Place(found.index.name, Charter.proven(found.provenance), root_digest, None, found.index)


def read_proposal(path: Path) -> Signing:
    """A proposal from its file.

    Raises:
        ConfigMissingError: there is none.
        VerificationError, OrderRefusedError, MessageError: it was altered, or never was one.
    """
    try:
        with path.open("rb") as file:
            return Signing.parse(file.read(MOST_BYTES + 1), str(path))
    except FileNotFoundError as error:
        raise ConfigMissingError(f"there is no proposal {path}; check the path") from error


def ask(command: str, place: Place, request: Request, keys: Sequence[KeyPair], out: Path | None, as_json: bool) -> None:
    """Begin a signing: propose, sign with what keys there are, and go on as :func:`go_on`."""
    signing = propose(place.run, place.charter, request, _now())
    for pair in keys:
        signing = signing.sign(pair)
    path = out or Path(f"{place.run}-{_label(signing)}.proposal")
    if not _can_apply(signing, place) and out is None and path.exists():
        raise UsageError(f"{path} exists; go on with it, or name another file: --out FILE")
    _end(command, signing, place, path, as_json)


def go_on(command: str, path: Path, place: Place | None, keys: Sequence[Path], out: Path | None, as_json: bool) -> None:
    """Sign a proposal that exists; apply it if enough have signed and this is the coordinator's folder."""
    signing = read_proposal(path)
    if place is not None:
        check_base(signing, place.run, place.charter, _now())
    elif keys:
        print_warnings(
            [f"nobody compared this with {signing.proposal.run} as it is now; to do so: --from URL"], as_json=as_json
        )
    for key in keys:
        signing = signing.sign(load_pair(key))
    _end(command, signing, place, out or path, as_json, is_new=bool(keys) or out is not None)


def _now() -> datetime:
    return datetime.fromtimestamp(now_ms() // 1000, UTC)


def _label(signing: Signing) -> str:
    """What the file is called by default: another name for every proposal that is not void."""
    request = signing.proposal.request
    match request:
        case Promote():
            return f"{request.action}-{request.release.version}"
        case Withdraw():
            return f"{request.action}-{request.version}"
        case _:
            return f"root-{signing.after.root.signed.version}"


def _can_apply(signing: Signing, place: Place | None) -> bool:
    return signing.is_complete and place is not None and place.folder is not None


def _end(
    command: str, signing: Signing, place: Place | None, path: Path, as_json: bool, *, is_new: bool = True
) -> None:
    """Apply, or write the file; and say so."""
    if _can_apply(signing, place):
        assert place is not None
        assert place.folder is not None
        apply(command, signing, place.folder, as_json)
        return
    if is_new:
        replace_file(path, signing.to_bytes())
    human = [*_words(signing), "", *_next_step(signing, path)]
    print_result(command, _result(signing, path, None), as_json=as_json, human="\n".join(human))


def apply(command: str, signing: Signing, folder: RunFolder, as_json: bool) -> None:
    """Have it take effect, and say what became of it."""
    from barnraise.installation import require

    require("coordinator")
    from coordinator.ceremonies import apply as apply_signed

    settled = apply_signed(folder, signing, tell=lambda words: print_warnings([words], as_json=as_json))
    human = [*_words(signing, with_needs=False), "", *wrapped(f"in effect: {settled.reason}")]
    print_result(command, _result(signing, None, settled.reason), as_json=as_json, human="\n".join(human))


def _words(signing: Signing, *, with_needs: bool = True) -> Iterator[str]:
    proposal = signing.proposal
    yield from wrapped(
        f"{proposal.run}, proposed {datetime.fromtimestamp(proposal.at_ms // 1000, UTC):%Y-%m-%d %H:%M} UTC:"
    )
    for change in proposal.changes:
        yield from wrapped(f"- {change}", "  ")
    if with_needs:
        yield ""
        for need in signing.needs:
            yield from wrapped(need.words, "  ")


def _next_step(signing: Signing, path: Path) -> Iterator[str]:
    if signing.is_complete:
        yield from wrapped(f"{path}: enough have signed. On the coordinator's machine:")
        yield f"  barnraise keys apply {path} --run RUN"
        return
    yield from wrapped(f"{path}: {signing.missing_words}. Hand it on; who signs next:")
    yield f"  barnraise keys sign {path} --key THEIR.key"


def _result(signing: Signing, path: Path | None, applied: str | None) -> dict[str, Any]:
    proposal = signing.proposal
    return {
        "run": proposal.run,
        "action": proposal.request.action,
        "changes": list(proposal.changes),
        "needs": [
            {
                "part": need.part,
                "of": need.of,
                "threshold": need.threshold,
                "keys": [key.name for key in need.keys],
                "signed": [key.name for key in need.signed],
                "missing": need.missing,
            }
            for need in signing.needs
        ],
        "complete": signing.is_complete,
        "file": None if path is None else str(path),
        "applied": applied,
    }
