"""Sections of a configuration file: every key validated, every mistake named.

A key that nothing reads is an error that names the file, the key and the nearest one that
exists. What is read is frozen.
"""

from __future__ import annotations

import difflib
import tomllib
import typing
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from barnraise.errors import ConfigMissingError, ConfigUnknownKeyError, ConfigValueError

__all__ = ["Digest", "Fraction", "Positive", "Section", "bundled", "named_by", "parse_section", "read_toml"]

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Digest = Annotated[str, Field(pattern=r"^b3:[0-9a-f]{64}$")]

SectionT = TypeVar("SectionT", bound="Section")


class Section(BaseModel):
    """A table of a configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def named_by(key: str, default: str, built_in: tuple[str, ...]) -> Discriminator:
    """Which section a table is, where one key of it names that: the name is the tag, ``foreign`` that of all others.

    Args:
        default: the name where a table says none.
    """

    def tag(value: Any) -> str:
        name = value.get(key, default) if isinstance(value, dict) else getattr(value, key, None)
        return name if name in built_in else "foreign"

    return Discriminator(tag)


def read_toml(path: Path, *, example: str) -> dict[str, Any]:
    """The document in a TOML file.

    Args:
        example: a file that ships with Barnraise, named where there is none.

    Raises:
        ConfigMissingError: no such file.
        ConfigValueError: not UTF-8, or not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ConfigMissingError(f"{path} is not a file. A ready-made one: {example}") from error
    except UnicodeDecodeError as error:
        raise ConfigValueError(f"{path} is not UTF-8 text") from error
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigValueError(f"{path} is not TOML: {error}") from error


def bundled(kind: str, name: str) -> Path | None:
    """A file that ships with Barnraise, ``configs/KIND/NAME.toml``; None if there is none of that name."""
    here = Path(__file__).resolve().parent
    for configs in (here / "configs", here.parent / "configs"):  # in a wheel, in a checkout
        path = configs / kind / f"{name}.toml"
        if path.is_file():
            return path
    return None


def parse_section(section: type[SectionT], value: dict[str, Any], *, source: str) -> SectionT:
    """Validate a decoded TOML document; ``source`` is named in errors.

    Raises:
        ConfigUnknownKeyError: a key that nothing reads.
        ConfigValueError: a value that is missing, of another type, or out of range.
    """
    try:
        return section.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    for problem in problems:
        if problem["type"] == "extra_forbidden":
            raise ConfigUnknownKeyError(_unknown_key(section, source, problem["loc"]))
    where = ".".join(str(part) for part in _steps(section, problems[0]["loc"])[0])
    message = problems[0]["msg"].removeprefix("Value error, ")
    raise ConfigValueError(f"{source}: {where + ': ' if where else ''}{message}")


def _unknown_key(top: type[Section], source: str, location: tuple[int | str, ...]) -> str:
    steps, section = _steps(top, location)
    known = list(section.model_fields) if _is_section(section) else []
    near = difflib.get_close_matches(str(steps[-1]), known, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}?" if near else ""
    return f"{source}: unknown key {'.'.join(str(part) for part in steps)!r}; {hint} nothing was started"


def _steps(top: type[Section], location: tuple[int | str, ...]) -> tuple[list[int | str], Any]:
    """The keys that lead to a problem, and the section that the last of them stands in.

    Where a table can be one of several sections, pydantic's location says which one; that is no key.
    """
    steps: list[int | str] = []
    section: Any = top
    choice: dict[Any, Any] = {}
    for number, part in enumerate(location):
        if part in choice:
            section, choice = choice[part], {}
            continue
        steps.append(part)
        if (
            number < len(location) - 1
            and isinstance(part, str)
            and _is_section(section)
            and part in section.model_fields
        ):
            field = section.model_fields[part]
            choice = _choices(field.annotation)
            section = _section_of(field.annotation)
    return steps, section


def _choices(annotation: Any) -> dict[Any, Any]:
    """Tag -> section of a union in which every member has one."""
    found: dict[Any, Any] = {}
    for member in typing.get_args(annotation):
        inner, *extras = typing.get_args(member) or (member,)
        found |= {extra.tag: inner for extra in extras if isinstance(extra, Tag)}
    return found


def _is_section(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _section_of(annotation: Any) -> Any:
    """The section class inside an annotation such as ``Annotated[tuple[X, ...], ...]``."""
    if _is_section(annotation):
        return annotation
    for inner in typing.get_args(annotation):
        found = _section_of(inner)
        if found is not None:
            return found
    return None
