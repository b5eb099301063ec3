"""``barnraise release``: release though tests get worse, each accepted by name and with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from barnraise.cli.ordering import AcceptOption, RunOption, accepted, find_run, give
from barnraise.cli.output import JsonOption
from barnraise.errors import UsageError
from barnraise.run_folder import RunFolder

if TYPE_CHECKING:
    from coordinator.orders import AcceptRegression

__all__ = ["release"]


def release(
    accept: AcceptOption = None,
    run: RunOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; goes into the release.")] = "",
    number: Annotated[
        int | None, typer.Option("--round", min=1, help="Where they failed; the newest such round by default.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what was accepted and not used yet.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Release the next candidate though a test gets worse, as a major version.

    Accepted are tests that a round of the newest release has failed, all of them, and as much
    worse as they were there. If that round's candidate is still being looked into, it is
    released. If not, the next one is that fails nothing else. It holds once, until the trunk moves.

    Example: barnraise release --accept-regression loss-text --reason "traded for tools"
    """
    from barnraise.installation import require

    require("coordinator")
    from coordinator.orders import WithdrawAcceptance

    if undo:
        if accept or number is not None:
            raise UsageError("--undo takes back what was accepted, and goes with --reason only")
        give("release", run, WithdrawAcceptance(reason), as_json=as_json)
        return
    if not accept:
        raise UsageError(
            "rounds release what passes by themselves; name a test that may get worse: --accept-regression TEST"
        )
    tests = list(accepted(accept, reason))
    give("release", run, _order(find_run(run), tests, reason, number), as_json=as_json)


def _order(folder: RunFolder, tests: list[str], reason: str, number: int | None) -> AcceptRegression:
    """The order, made from what the ledger says of the round.

    Raises:
        OrderRefusedError: these tests cannot be accepted, and why.
        ConfigError, StorageError: the run's configuration or ledger cannot be read.
    """
    from barnraise.config import load_run_config
    from coordinator.ledger import Ledger
    from coordinator.orders import accept

    ledger = Ledger.open_reading(folder.ledger)
    try:
        return accept(ledger, load_run_config(folder.config).acceptance, tests, reason, number)
    finally:
        ledger.close()
