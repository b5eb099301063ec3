"""``NODE/policies.toml``: which policies are loaded, and their settings. A table is a policy.

    [idle]
    after_s = 600

    [exclusive-app]
    programs = ["steam", "blender"]

The file may be edited by hand at any time, by a command, or by both: writing one table leaves all others as they
stand, comments included. ``[governor]`` holds what belongs to no policy.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from barnraise.errors import ConfigValueError, UsageError
from barnraise.releases.durable import replace_file
from barnraise.sections import Section, parse_section, read_toml
from contributor.governor.policy import Policy, make

__all__ = [
    "FILE",
    "GovernorConfig",
    "Settings",
    "change_table",
    "parse_choice",
    "parse_values",
    "read_settings",
    "remove_table",
    "table_of",
    "write_table",
]

FILE = "policies.toml"
HEADING = re.compile(r"^\s*\[\s*\"?([\w-]+)\"?\s*\]\s*(#.*)?$")


class GovernorConfig(Section):
    """What belongs to no policy.

    Attributes:
        resume_after_s: of quiet, after a stop, before work goes on.
    """

    resume_after_s: Annotated[float, Field(ge=0)] = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a settings file says."""

    governor: GovernorConfig
    policies: Mapping[str, Policy]


def read_settings(folder: Path) -> Settings:
    """The policies of the node with this folder. No file is no policies.

    Raises:
        ConfigError: a key that nothing reads, a value out of range, or not TOML.
    """
    path = folder / FILE
    if not path.exists():
        return Settings(GovernorConfig(), {})
    tables = read_toml(path, example="docs/governor.md")
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigValueError(f"{path}: {name!r} stands outside of a table; a policy is a table, such as [idle]")
    general = parse_section(GovernorConfig, tables.pop("governor", {}), source=f"{path}: [governor]")
    return Settings(general, {name: make(name, table, source=str(path)) for name, table in tables.items()})


def parse_choice(text: str) -> tuple[str, dict[str, Any]]:
    """A policy as an option names it: ``idle``, ``idle=after_s=600``, ``exclusive-app=programs=["steam"]``.

    Raises:
        UsageError: the settings are not TOML.
    """
    name, _, settings = text.partition("=")
    return name.strip(), parse_values([settings] if settings else [])


def parse_values(texts: list[str]) -> dict[str, Any]:
    """Settings as options give them, each ``KEY=VALUE`` or several with commas; a word needs no quotation marks.

    Raises:
        UsageError: they are not TOML.
    """
    told: dict[str, Any] = {}
    for text in (part for whole in texts for part in re.split(r",(?=\s*[\w-]+\s*=)", whole)):
        key, _, value = text.partition("=")
        if re.fullmatch(r"\s*[A-Za-z][\w/+-]*\s*", value) and value.strip() not in {"true", "false", "inf", "nan"}:
            told[key.strip()] = value.strip()
            continue
        try:
            told |= tomllib.loads(f"settings = {{{text}}}")["settings"]
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{text!r} are not settings; expected is KEY=VALUE, such as after_s=600") from error
    return told


def write_table(folder: Path, name: str, settings: Mapping[str, Any]) -> Settings:
    """Load a policy, or give the one that is loaded these settings; the rest of the file stays as it is.

    Raises:
        ConfigError: what the file would then say is refused, and nothing was written.
    """
    source = str(folder / FILE)
    if name == "governor":
        parse_section(GovernorConfig, dict(settings), source=f"{source}: [governor]")
    else:
        make(name, settings, source=source)
    body = [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in settings.items())]
    before, _, after = _around(folder, name)
    return _replace(folder, [*before, *body, *(["", *after] if after else [])])


def change_table(folder: Path, name: str, settings: Mapping[str, Any]) -> Settings:
    """Give a policy that is loaded these settings; those that are not named stay.

    Raises:
        ConfigError: it is not loaded, or what the file would then say is refused.
    """
    before = table_of(folder, name)
    if before is None and name != "governor":
        loaded = ", ".join(read_settings(folder).policies) or "none"
        raise ConfigValueError(f"policy {name!r} is not loaded; loaded: {loaded}. Load it: barnraise policy add {name}")
    return write_table(folder, name, {**(before or {}), **settings})


def remove_table(folder: Path, name: str) -> Settings:
    """Unload a policy.

    Raises:
        ConfigValueError: it is not loaded.
    """
    before, found, after = _around(folder, name)
    if not found:
        loaded = ", ".join(read_settings(folder).policies) or "none"
        raise ConfigValueError(f"policy {name!r} is not loaded; loaded: {loaded}")
    return _replace(folder, [*before, *after])


def table_of(folder: Path, name: str) -> dict[str, Any] | None:
    """The settings that the file gives a policy; None when it is not loaded."""
    path = folder / FILE
    found = read_toml(path, example="docs/governor.md").get(name) if path.exists() else None
    return found if isinstance(found, dict) else None


def _around(folder: Path, name: str) -> tuple[list[str], list[str], list[str]]:
    """Lines before a table, of it, and after it. A new table comes last."""
    read_settings(folder)  # a file with a mistake is not edited
    path = folder / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    begins = [index for index, line in enumerate(lines) if HEADING.match(line)]
    for here, nxt in zip(begins, [*begins, len(lines)][1:], strict=True):
        if _heading(lines[here]) == name:
            return lines[:here], lines[here:nxt], lines[nxt:]
    return [*lines, *([""] if lines and lines[-1].strip() else [])], [], []


def _heading(line: str) -> str:
    match = HEADING.match(line)
    assert match is not None
    return match[1]


def _replace(folder: Path, lines: list[str]) -> Settings:
    replace_file(folder / FILE, ("\n".join(lines).rstrip() + "\n").encode())
    return read_settings(folder)


def _toml(value: Any) -> str:
    """A setting as TOML writes it: text, numbers, truth, and lists of these."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return repr(value)
