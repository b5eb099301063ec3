"""``barnraise notify``: who is told what happens in a run, and whether that works."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.ordering import RunOption, find_run
from barnraise.cli.output import JsonOption, print_result
from barnraise.errors import RefusedError, UsageError

__all__ = ["notify"]

notify = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@notify.callback()
def about() -> None:
    """Who is told what happens in a run: signed webhooks and services, from [notify] in its configuration.

    Example: barnraise notify test --run ./my-run
    """


@notify.command("test")
def send_test(
    run: RunOption = None,
    target: Annotated[str | None, typer.Option("--target", help="Only this one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test event to every target of a run, and show what came of it. Nothing is recorded.

    Example: barnraise notify test --run ./my-run
    """
    from barnraise.installation import require

    require("coordinator")
    from barnraise.clock import now_ms
    from barnraise.config import load_run_config
    from coordinator.notify.messages import trial_message
    from coordinator.notify.targets import open_targets

    config = load_run_config(find_run(run).config)
    targets = [one for one in open_targets(config.notify) if target in {None, one.name}]
    if not targets:
        names = ", ".join(one.name for one in config.notify.targets) or "none: add [[notify.webhooks]] to its file"
        raise UsageError(f"no target {target or 'at all'} in this run; it has {names}")
    answers = {one.name: one.send(trial_message(config.name, now_ms(), secrets.token_hex(16))) for one in targets}
    failed = [name for name, answer in answers.items() if not answer.delivered]
    lines = [
        f"{name}: {'delivered' if answer.delivered else 'NOT delivered'}: {answer.reason}"
        for name, answer in answers.items()
    ]
    if failed:
        raise RefusedError(f"{len(failed)} of {len(targets)} targets could not be told. {'; '.join(lines)}")
    found = [{"target": name, "status": one.status, "reason": one.reason} for name, one in answers.items()]
    print_result("notify", {"targets": found}, as_json=as_json, human="\n".join(lines))


@notify.command("secret")
def make_secret(
    file: Annotated[Path, typer.Argument(help="A new file; it gets mode 0600.")],
    as_json: JsonOption = False,
) -> None:
    """Make a secret for a webhook, as Standard Webhooks writes it. Give the target a copy.

    Example: barnraise notify secret ~/.config/barnraise/webhook.secret
    """
    from barnraise.installation import require

    require("coordinator")
    from coordinator.notify.secrets import write_secret

    write_secret(file)
    words = f"a new secret is in {file}; give the target a copy of it"
    print_result("notify", {"file": str(file)}, as_json=as_json, human=words)
