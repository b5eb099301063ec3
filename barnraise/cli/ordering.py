"""What the commands that order something of a run have in common: which run, waiting, and saying what became of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnraise.cli.output import print_result, printable, table, wrapped
from barnraise.cli.show import test_table
from barnraise.cli.sources import USUAL_FOLDERS
from barnraise.errors import OrderRefusedError, UsageError
from barnraise.run_folder import RunFolder

if TYPE_CHECKING:
    from coordinator.orders import Order, Settled

__all__ = ["AcceptOption", "RunOption", "accepted", "find_run", "give"]

TENSORS_TOLD = 5

RunOption = Annotated[
    Path | None,
    typer.Option("--run", help="Folder of the run, on the coordinator's machine. Default: a run right here."),
]

AcceptOption = Annotated[
    list[str] | None,
    typer.Option("--accept-regression", metavar="TEST", help="Release though TEST gets worse; needs --reason."),
]


def find_run(path: Path | None) -> RunFolder:
    """The folder that was named, else a run right here.

    Raises:
        UsageError: none was named, and there is none here.
        NotARunFolderError: there is no run in it.
    """
    if path is not None:
        return RunFolder(path.resolve()).require()
    for usual in USUAL_FOLDERS:
        if RunFolder(usual).config.is_file():
            return RunFolder(usual.resolve())
    raise UsageError(f"which run? There is no {' or '.join(f'./{folder}' for folder in USUAL_FOLDERS)} here: --run DIR")


def accepted(tests: list[str] | None, reason: str) -> dict[str, str]:
    """Test -> why its getting worse is accepted.

    Raises:
        UsageError: no reason was given.
    """
    if tests and not reason:
        raise UsageError(f"say why {', '.join(tests)} may get worse: --reason TEXT")
    return dict.fromkeys(tests or [], reason)


def give(command: str, run: Path | None, order: Order, *, as_json: bool) -> None:
    """Place an order, wait for the coordinator if one runs, and print what became of it.

    Raises:
        OrderRefusedError: it was refused; the reason says why.
    """
    from barnraise.installation import require

    require("coordinator")
    from coordinator.orders import place

    def tell(line: str) -> None:
        if not as_json:
            print(f"{printable(line)}; Ctrl-C stops waiting, the order stands", file=sys.stderr, flush=True)

    try:
        settled = place(find_run(run), order, tell=tell)
    except OrderRefusedError as error:
        if as_json:
            raise
        raise OrderRefusedError(_broken(error.reason)) from error
    print_result(command, _result(settled), as_json=as_json, human="\n".join(_words(settled)))


def _words(settled: Settled) -> list[str]:
    """The reason, and of a release without updates what became different."""
    report = settled.result
    told = wrapped(settled.reason)
    if "model" not in report:
        return told
    against, before = report["tests"]["against"], report["tests"]["against_before"]
    lines = [*told, "", f"against {against['version']}:", *test_table(against["tests"])]
    if before["version"] != against["version"]:
        lines += ["", f"against {before['version']}, before the update:", *test_table(before["tests"])]
    tensors = report["model"]["tensors"][:TENSORS_TOLD]
    rows = [(row["name"], f"{row['norm']:.4g}", f"{row['changed']:.1%}") for row in tensors]
    lines += ["", *table(("MOST CHANGED", " NORM", " ELEMENTS"), rows)]
    if report["dropped"]:
        lines += ["", *wrapped(f"gone with them, for too few were left of their rounds: {_short(report['dropped'])}")]
    if report["added_to_another_base"]:
        lines += ["", *wrapped(f"{len(report['added_to_another_base'])} {report['note']}")]
    return lines


def _broken(reason: str) -> str:
    """A refusal, which may name updates and tests and be long, broken to the width of a terminal."""
    name = "barnraise: "  # which is printed before it
    return "\n".join(wrapped(f"{name}{reason}")).removeprefix(name)


def _short(digests: list[str]) -> str:
    return ", ".join(f"{digest[:15]}.." for digest in digests)


def _result(settled: Settled) -> dict[str, Any]:
    waits = {"order": settled.order_id, "waits": settled.waits, "reason": settled.reason}
    return {**waits, "result": dict(settled.result)}
