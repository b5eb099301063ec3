"""``barnraise doctor``: can this machine join, and if not, exactly why. See docs/doctor.md."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnraise.cli.nodes import node_home, options_given
from barnraise.cli.output import WIDTH, print_result, wrapped
from barnraise.cli.own_key import key_file
from barnraise.cli.sources import JsonOption
from barnraise.errors import CannotJoinError, NameClashError

if TYPE_CHECKING:
    from contributor.doctor.examine import Diagnosis
    from contributor.doctor.finding import Finding

__all__ = ["doctor"]

MARKS = {"ok": "ok", "warning": "WARN", "fail": "FAIL", "skipped": "-"}
MARK_COLUMNS, CHECK_COLUMNS = 5, 15


def doctor(
    url: Annotated[str | None, typer.Argument(help="The coordinator that cannot be joined.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Signing key, if not the usual one.")] = None,
    home: Annotated[Path | None, typer.Option("--home", help="Where this node's state is, or would be.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at this machine, the way to a coordinator, and what its run asks; change nothing.

    At most 1.1 MB are sent, to measure the upload. Exit code 17 means that this machine
    cannot join as it is, and the last line says why.

    Example: barnraise doctor http://127.0.0.1:8000
    """
    try:
        from contributor.doctor.examine import examine
        from contributor.transport import base_url
    except ImportError as error:  # the generic name is somebody else's, or files are missing
        raise NameClashError(
            f"barnraise's own package contributor cannot be loaded ({error}). Another distribution may have "
            "overwritten it: pip install --force-reinstall --no-deps barnraise, in an environment of its own"
        ) from error
    where = base_url(url) if url is not None else None
    diagnosis = examine(where, key_file(key), node_home(home))
    lines = _lines(diagnosis, options_given(home=home, key=key))
    print_result("doctor", diagnosis.as_json(), as_json=as_json, human="\n".join(lines))
    if diagnosis.main is not None:
        raise typer.Exit(CannotJoinError.exit_code)


def _lines(diagnosis: Diagnosis, given: str) -> list[str]:
    """``given``: the options that ``join`` needs as well, to mean this node."""
    lines = [line for finding in diagnosis.findings for line in _line(finding)]
    main = diagnosis.main
    if main is not None:
        return [*lines, "", *wrapped(f"this machine cannot join: {main.sentence}", "  ")]
    if diagnosis.url is None:
        return [*lines, "", f"nothing on this machine is in the way; now: barnraise doctor URL{given}"]
    told = f", {diagnosis.warnings} warning{'s' if diagnosis.warnings > 1 else ''}" if diagnosis.warnings else ""
    return [*lines, "", f"this machine can join{told}: barnraise join {diagnosis.url}{given}"]


def _line(finding: Finding) -> list[str]:
    """Mark, check, what was found and needed; the cure below."""
    head = f"{MARKS[finding.mark]:<{MARK_COLUMNS}}{finding.check:<{CHECK_COLUMNS}}"
    needed = f" ({finding.needed})" if finding.needed else ""
    indent = " " * (MARK_COLUMNS + CHECK_COLUMNS)
    lines = _wrap(f"{finding.found}{needed}", head, indent)
    if finding.cure and finding.mark in {"fail", "warning"}:
        lines += _wrap(finding.cure, f"{indent}-> ", f"{indent}   ")
    return lines


def _wrap(text: str, first: str, then: str) -> list[str]:
    """Broken to the width of a terminal, but for paths and commands that are longer than it."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=then, break_long_words=False, break_on_hyphens=False
    )
