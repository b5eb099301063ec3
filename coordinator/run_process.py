"""What the processes that ``barnraise serve`` starts have in common: how they begin, and how they say why they end."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from barnraise.errors import BarnraiseError
from barnraise.process import end_with_parent, last_words
from barnraise.run_folder import RunFolder

__all__ = ["add_parent", "exit_code_of", "run_process"]


def run_process(module: str, work: Callable[[RunFolder], None]) -> int:
    """``python -m MODULE --run DIR``, whose log is its standard error.

    Args:
        work: ends when the process is to end; called in the main thread.

    Returns:
        the exit code: 0, or that of the error's family.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--run", type=Path, required=True)
    add_parent(parser)
    chosen = parser.parse_args()
    end_with_parent(chosen.parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return exit_code_of(lambda: work(RunFolder(chosen.run.resolve())))


def add_parent(parser: argparse.ArgumentParser) -> None:
    """Let a process be told who starts it, for :func:`barnraise.process.end_with_parent`."""
    parser.add_argument("--parent", type=int, help="process id of whoever starts this; the end of both")


def exit_code_of(work: Callable[[], None]) -> int:
    """Do the work of a process; an error of ours is its last words, and decides its exit code."""
    try:
        work()
    except BarnraiseError as error:
        last_words(error)
        return error.exit_code
    return 0
