"""``barnraise policy``: when and how hard this machine works for a run. See docs/governor.md."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnraise.cli.nodes import HomeOption, KeyOption, RunNameOption, find_node
from barnraise.cli.output import JsonOption, print_result, wrapped
from barnraise.installation import require

if TYPE_CHECKING:
    from contributor.control.finding import FoundNode
    from contributor.governor.governor import Explanation

__all__ = ["policy"]

policy = typer.Typer(
    name="policy",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Show and change when and how hard a node works. What is changed counts at once, also while it runs.

    Example: barnraise policy add idle after_s=600
    """,
)

LOOK_AGAIN_S = 1.0

NameArgument = Annotated[str, typer.Argument(help="A policy, such as idle. See: barnraise policy ls")]
SettingsArgument = Annotated[list[str] | None, typer.Argument(help="Settings: after_s=600, or programs='[\"steam\"]'.")]


@policy.command("ls")
def list_(
    run: RunNameOption = None, key: KeyOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """List the policies that are loaded, with their settings, and those that could be.

    Example: barnraise policy ls
    """
    node = _node(run, home, key)
    from contributor.governor.policy import available, summary
    from contributor.governor.settings import FILE, read_settings

    loaded = read_settings(node.folder).policies
    told = {name: _settings_of(one) for name, one in loaded.items()}
    others = {name: summary(name) for name in available() if name not in loaded}
    human = [str(node.folder / FILE), ""]
    human += [*_each(f"{name}: {_shown(told[name])}" for name in told)] or ["no policy is loaded"]
    human += ["", "not loaded:", *_each(f"  {name}: {line}" for name, line in others.items())]
    result = {"file": str(node.folder / FILE), "loaded": told, "available": others}
    print_result("policy", result, as_json=as_json, human="\n".join(human))


@policy.command()
def add(
    name: NameArgument,
    settings: SettingsArgument = None,
    run: RunNameOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a policy; what is not said stays at its default.

    Example: barnraise policy add exclusive-app 'programs=["steam", "blender"]'
    """
    node = _node(run, home, key)
    from contributor.governor.settings import parse_values, write_table

    _changed(name, write_table(node.folder, name, parse_values(settings or [])).policies.get(name), as_json, "loaded")


@policy.command("set")
def set_(
    name: NameArgument,
    settings: Annotated[list[str], typer.Argument(help="Settings to change: after_s=600.")],
    run: RunNameOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change settings of a policy that is loaded; the others stay. ``governor`` has resume_after_s.

    Example: barnraise policy set learned target_slowdown=0.02
    """
    node = _node(run, home, key)
    from contributor.governor.settings import change_table, parse_values

    changed = change_table(node.folder, name, parse_values(settings))
    _changed(name, changed.governor if name == "governor" else changed.policies[name], as_json, "changed")


@policy.command()
def remove(
    name: NameArgument,
    run: RunNameOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Unload a policy.

    Example: barnraise policy remove idle
    """
    node = _node(run, home, key)
    from contributor.governor.settings import remove_table

    left = list(remove_table(node.folder, name).policies)
    human = f"{name} is unloaded; loaded: {', '.join(left) or 'none'}"
    print_result("policy", {"removed": name, "loaded": left}, as_json=as_json, human=human)


@policy.command()
def explain(
    name: Annotated[str | None, typer.Argument(help="Only this policy.")] = None,
    run: RunNameOption = None,
    key: KeyOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what every policy wishes now, why, and what it saw. The command looks for itself, beside a running node.

    Example: barnraise policy explain
    """
    node = _node(run, home, key)
    from barnraise.errors import UsageError
    from contributor.governor.here import only_look

    said: list[str] = []
    governor = only_look(node.folder, said.append)
    if name is not None and name not in governor.policies:
        raise UsageError(f"policy {name!r} is not loaded; loaded: {', '.join(governor.policies) or 'none'}")
    governor.wish()
    time.sleep(LOOK_AGAIN_S)  # nothing else runs here, and some sensors tell what has changed between two looks
    governor.wish()
    told = governor.explain()
    wishes = {one: wish for one, wish in told.wishes.items() if name in {None, one}}
    result = {
        "seen": {field: _plain(value) for field, value in told.seen.known().items()},
        "unknown": dict(told.seen.unknown),
        "wishes": {one: _wish(wish) for one, wish in wishes.items()},
        "told": _wish(told.told),
        "said": said,
    }
    print_result("policy", result, as_json=as_json, human="\n".join([*said, *_explained(told, wishes)]))


def _explained(told: Explanation, wishes: dict[str, Any]) -> list[str]:
    lines = ["seen"]
    seen = {field: value for field, value in told.seen.known().items() if field not in {"at_ms", "clock_s"}}
    lines += _each(f"  {field}: {_short(value)}" for field, value in seen.items())
    lines += _each(f"  {field}: not known, {why}" for field, why in told.seen.unknown.items())
    lines += ["", "wishes"] if wishes else ["", "no policy is loaded"]
    lines += _each(f"  {name}: {_in_words(wish)}: {wish.reason}" for name, wish in wishes.items())
    return [*lines, "", *_each([f"together: {_in_words(told.told)}: {told.told.reason}"])]


def _each(lines: Iterable[str]) -> list[str]:
    """Lines broken to the width of a terminal."""
    return [part for line in lines for part in wrapped(line, "    ")]


def _in_words(wish: Any) -> str:
    """What a wish asks of the node."""
    if not wish.work:
        return "wait"
    asks = [f"train {wish.duty:.0%} of the time" if wish.duty < 1 else "train"]
    if wish.micro_batch_max is not None:
        asks.append(f"at most {wish.micro_batch_max} examples at once")
    for rate, way in ((wish.up_bytes_per_s, "up"), (wish.down_bytes_per_s, "down")):
        if rate is not None:
            asks.append(f"{rate / 1e6:.1f} MB/s {way}")
    if not wish.transfer:
        asks.append("no transfers")
    return ", ".join(asks)


def _wish(wish: Any) -> dict[str, Any]:
    fields = ("work", "reason", "duty", "micro_batch_max", "up_bytes_per_s", "down_bytes_per_s", "transfer")
    return {name: getattr(wish, name) for name in fields}


def _plain(value: Any) -> Any:
    """A field of an observation as JSON has it."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [{name: getattr(one, name) for name in one.__slots__} for one in value]
    return value


def _short(value: Any) -> Any:
    """A field of an observation for a line: programs are many."""
    if isinstance(value, frozenset):
        return f"{len(value)} programs: {', '.join(sorted(value)[:20])}{' ..' if len(value) > 20 else ''}"
    return round(value, 3) if isinstance(value, float) else _plain(value)


def _changed(name: str, section: Any, as_json: bool, verb: str) -> None:
    settings = _settings_of(section)
    human = _each([f"{name} is {verb}: {_shown(settings)}"])
    print_result("policy", {"policy": name, "settings": settings}, as_json=as_json, human="\n".join(human))


def _settings_of(section: Any) -> dict[str, Any]:
    settings: dict[str, Any] = section.model_dump(mode="json")
    return settings


def _shown(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items() if value is not None) or "no settings"


def _node(run: str | None, home: Path | None, key: str | None) -> FoundNode:
    """The node that is meant; policies look at the machine with what only contributors install."""
    require("contributor")
    return find_node(run, home, key)
