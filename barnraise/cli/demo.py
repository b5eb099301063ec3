"""``barnraise demo``: the main job on this machine, on real input, in two to three minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from barnraise.run_folder import RunFolder

__all__ = ["demo"]


def demo(
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder of the demo's run; ./demo-run by default.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=4, help="End after this many rounds, not by the clock.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Another run's TOML file, such as a smaller one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one summary instead of progress.")] = False,
) -> None:
    """Run a coordinator, four volunteers and a poisoner; pull the result.

    A demo that was interrupted is continued by the same command.

    Example: barnraise demo --into ./my-demo
    """
    from barnraise.cli.output import print_result
    from barnraise.config import bundled_config
    from barnraise.demo.play import DemoPlan, play
    from barnraise.demo.screen import opened
    from barnraise.installation import require
    from barnraise.process import interrupt_on_sigterm

    require("coordinator")
    require("contributor")
    folder = (into or _free_folder()).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    plan = DemoPlan(config or bundled_config("stdlib-lm", "demo"), folder)
    if rounds is not None:
        plan = replace(plan, rounds=rounds, play_for_s=0.0)
    interrupt_on_sigterm()
    with opened(as_json=as_json) as screen:
        told = play(plan, screen)
    (folder / "demo.done").touch()
    print_result("demo", told, as_json=as_json, human=_words(told))


def _free_folder() -> Path:
    """``./demo-run``, or the next number when that holds a finished demo."""
    number, folder = 1, Path("demo-run")
    while (folder / "demo.done").exists() or (folder.exists() and not RunFolder(folder).config.exists()):
        number += 1
        folder = Path(f"demo-run-{number}")
    return folder


def _words(told: dict[str, Any]) -> str:
    from barnraise.cli.output import field, wrapped

    pull, bits, folder = told["pull"], told["bits_per_byte"], told["folder"]
    versions = ", ".join(release["version"] for release in told["releases"])
    lines = [
        "",
        f"{told['rounds']} rounds in {told['seconds']:.0f} s; releases {versions}",
        f"held-out loss {bits['start']:.3f} -> {bits['end']:.3f} bits per byte; every supported test non-inferior",
        *(
            line
            for r in told["rejected"]
            for line in wrapped(f"rejected {r['by'] or 'an update'}: {r['reason']}", "  ")
        ),
        f"volunteers sent {told['sent_bytes']:,} bytes instead of {told['dense_bytes']:,}",
        f"pulled {pull['spec']} -> {pull['version']}, {pull['fetched_bytes']:,} bytes",
        *(line for what in pull["checked"] for line in field("verified", what)),
        *wrapped(
            f"it equals parent plus patch bit for bit; the patch is {pull['patch_bytes']:,} bytes, "
            f"{100 * pull['patch_share']:.2f}% of the model's {pull['model_bytes']:,}",
            "  ",
        ),
        "",
        "a sample of what it writes:",
        *(f"    {line}" for line in pull["sample"].splitlines()),
        "",
        f"look around: barnraise ls --from {folder}",
        f"continue it: barnraise serve {folder}",
    ]
    return "\n".join(lines)
