"""The ``barnraise`` command: a table of commands, each imported when it runs.

A command parses, calls one library function, prints one result or raises one of our errors.
Here the errors become words or JSON and an exit code; see docs/errors.md.
"""

from __future__ import annotations

import importlib
import keyword
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from barnraise.cli.output import print_error
from barnraise.errors import BarnraiseError, DiskFullError, StorageError, UsageError

__all__ = ["COMMANDS", "main", "run"]

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("barnraise.cli.demo", "Run the main job on this machine, in two to three minutes."),
    "serve": ("barnraise.cli.serve", "Operator: coordinate a run."),
    "join": ("barnraise.cli.join", "Contributor: train for a run."),
    "policy": ("barnraise.cli.policy", "Contributor: when and how hard this machine works."),
    "status": ("barnraise.cli.status", "Contributor: what your nodes do, and why they wait."),
    "pause": ("barnraise.cli.control", "Contributor: let a node rest at its next step."),
    "resume": ("barnraise.cli.control", "Contributor: let a paused node go on."),
    "finish": ("barnraise.cli.control", "Contributor: complete this unit, then stop."),
    "leave": ("barnraise.cli.control", "Contributor: stop at once, and give the lease back."),
    "history": ("barnraise.cli.history", "Contributor: every unit, and what became of it."),
    "swarm": ("barnraise.cli.swarm", "Show who else works for a run now."),
    "leaderboard": ("barnraise.cli.leaderboard", "Rank contributors by what they improve."),
    "ls": ("barnraise.cli.ls", "List the releases of a run."),
    "show": ("barnraise.cli.show", "Show one release: lineage, tests, contributors."),
    "round": ("barnraise.cli.round", "Show what a round merged: fates, weights, conflicts, tests."),
    "why": ("barnraise.cli.why", "Say what became of an update, with the evidence."),
    "bisect": ("barnraise.cli.bisect", "Find the release, then the update, that broke a test."),
    "pull": ("barnraise.cli.pull", "Consumer: pull a release, verified."),
    "cache": ("barnraise.cli.cache", "Show, empty or check what earlier pulls left."),
    "mirror": ("barnraise.cli.mirror", "Keep a static copy of a run's releases in step."),
    "test": ("barnraise.cli.test", "Run acceptance tests on a model, as a coordinator does."),
    "verify": ("barnraise.cli.verify", "Check a release that was pulled."),
    "sample": ("barnraise.cli.sample", "Let a pulled model write."),
    "adapter": ("barnraise.cli.adapter", "Write an update's factors as an adapter that peft loads."),
    "mask": ("barnraise.cli.mask", "Operator: choose the few elements that a run trains."),
    "merge": ("barnraise.cli.merge", "Merge local checkpoints into one."),
    "recompute": ("barnraise.cli.recompute", "Compute a release again from its updates, and compare."),
    "release": ("barnraise.cli.release", "Operator: release though a test gets worse."),
    "rollback": ("barnraise.cli.rollback", "Operator: move a channel to another release."),
    "yank": ("barnraise.cli.yank", "Operator: let no range choose a release any more."),
    "revert": ("barnraise.cli.revert", "Operator: release as if an update had never been merged."),
    "revoke": ("barnraise.cli.revoke", "Operator: ban a key, and take out what it sent."),
    "quarantine": ("barnraise.cli.quarantine", "Operator: measure what a key sends, and merge none of it."),
    "import": ("barnraise.cli.import_", "Operator: list a fine-tune beside the trunk."),
    "gc": ("barnraise.cli.gc", "Operator: remove what a run does not need."),
    "fsck": ("barnraise.cli.fsck", "Check all that a run or a mirror stores, and mend it."),
    "backup": ("barnraise.cli.backup", "Operator: back up a run, which may be running."),
    "restore": ("barnraise.cli.restore", "Operator: make a run again from a backup."),
    "operator": ("barnraise.cli.operator", "Operator: the token for the operator's page, and who did what."),
    "notify": ("barnraise.cli.notify", "Operator: try who is told what happens in a run."),
    "promote": ("barnraise.cli.promote", "Maintainer: sign a release for stable, hand it on."),
    "keys": ("barnraise.cli.keys", "Show and change who signs for a run."),
    "doctor": ("barnraise.cli.doctor", "Can this machine join, and if not, exactly why?"),
    "team": ("barnraise.cli.team", "The key of a team that averages: new, show."),
    "identity": ("barnraise.cli.identity", "Your key: show, export, import, rotate, recover."),
}
"""Name -> module, with a function (or a ``Typer``) of the command's name, and its line in ``--help``."""

INTERRUPTED = 130
# The base of all usage errors of typer and of the click that it carries, by its public name.
_TYPER_ERROR: type[Exception] = typer.BadParameter.__bases__[0].__bases__[0]


class _LazyGroup(typer.core.TyperGroup):
    """Knows its commands by name and help line, and imports a module only to run it."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # click moved in 0.2x
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        found = getattr(importlib.import_module(COMMANDS[cmd_name][0]), name)
        if isinstance(found, typer.Typer):  # a command with commands of its own
            return typer.main.get_command(found)
        app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        app.command(cmd_name)(found)
        return typer.main.get_command(app)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


app = typer.Typer(cls=_LazyGroup, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Build one machine-learning model the way open-source software is built.

    Begin with: barnraise demo
    """
    if version:
        from barnraise import __version__

        print(f"barnraise {__version__}")
    elif ctx.invoked_subcommand is None:
        print(ctx.get_help())


def run(argv: Sequence[str]) -> int:
    """Run one command line, and return its exit code."""
    as_json = "--json" in argv
    command = next((word for word in argv if word in COMMANDS), "")
    try:
        code = typer.main.get_command(app).main(list(argv), prog_name="barnraise", standalone_mode=False)
        sys.stdout.flush()
    except _TYPER_ERROR as error:
        return _failed(command, _usage(error, command), as_json)
    except BarnraiseError as error:
        return _failed(command, error, as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone: nothing to say, and nobody to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(command, _disk(error), as_json)
    if code == INTERRUPTED and not as_json:
        print("barnraise: stopped", file=sys.stderr)
    return int(code or 0)


def main() -> NoReturn:
    """Entry point of the ``barnraise`` script and of ``python -m barnraise``."""
    sys.exit(run(sys.argv[1:]))


def _failed(command: str, error: BarnraiseError, as_json: bool) -> int:
    print_error(command, error, as_json=as_json)
    return error.exit_code


def _usage(error: Exception, command: str) -> UsageError:
    message = getattr(error, "format_message", error.__str__)()
    return UsageError(f"{message.rstrip('.')}. Try: barnraise {command + ' ' if command else ''}--help")


def _disk(error: OSError) -> StorageError:
    from barnraise.releases.durable import full_disk_words

    words = full_disk_words(error)
    if words is not None:
        said, cure = words
        return DiskFullError(f"{said}: {error.filename or 'a disk'} could not be written. {cure} first")
    return StorageError(f"{error.strerror or error}: {error.filename or 'no file name'}")
