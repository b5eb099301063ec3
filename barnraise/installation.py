"""Is this Python environment fit for a command: extras installed, and our packages really ours.

``coordinator``, ``contributor`` and ``merge`` are generic names. Another distribution may
claim one of them, and pip overwrites without a word; so the commands that use them ask here
first.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import barnraise
from barnraise.errors import MissingExtraError, NameClashError

__all__ = ["missing_of", "require", "require_ours"]

OUR_PACKAGES = ("coordinator", "contributor", "merge")
MODULES_OF_EXTRA: dict[str, tuple[str, ...]] = {
    "merge": ("torch",),
    "contributor": ("torch", "psutil"),
    "coordinator": ("torch", "ray", "sqlalchemy", "alembic", "fastapi", "uvicorn", "prometheus_client", "psutil"),
    "swarm": ("hivemind", "torch"),
}


def require(extra: Literal["merge", "contributor", "coordinator", "swarm"]) -> None:
    """Check that the commands of an extra can run here.

    Raises:
        NameClashError: one of our packages was overwritten or is shadowed.
        MissingExtraError: something is not installed.
    """
    missing = missing_of(extra)
    if missing:
        raise MissingExtraError(
            f"this command needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed. "
            f"Run: pip install 'barnraise[{extra}]'"
        )
    require_ours()


def missing_of(extra: str) -> tuple[str, ...]:
    """The modules of an extra that are not installed."""
    return tuple(module for module in MODULES_OF_EXTRA[extra] if importlib.util.find_spec(module) is None)


def require_ours() -> None:
    """Check that no other distribution has overwritten or shadows our packages.

    Raises:
        NameClashError: one has.
    """
    home = Path(barnraise.__file__).parent.parent
    for package in OUR_PACKAGES:
        spec = importlib.util.find_spec(package)
        check_origin(package, spec.origin if spec else None, home)
    check_claims(_distributions())


def check_origin(package: str, origin: str | None, home: Path) -> None:
    """Whether a package lies where ``barnraise`` itself does.

    Args:
        origin: file of the package's ``__init__``, or None when there is none.

    Raises:
        NameClashError: it does not.
    """
    if origin is None or Path(origin).parent.parent.resolve() != home.resolve():
        raise NameClashError(
            f"the package {package!r} is loaded from {origin or 'nowhere'}, expected {home / package}. "
            "Use an environment of its own for barnraise, and start it from another folder"
        )


def check_claims(distributions: Mapping[str, Sequence[str]]) -> None:
    """Whether any other distribution has installed one of our packages.

    Args:
        distributions: top-level package -> the distributions that have files in it.

    Raises:
        NameClashError: one has, so ours may be overwritten.
    """
    for package in OUR_PACKAGES:
        for name in distributions.get(package, ()):
            if name != "barnraise":
                raise NameClashError(
                    f"the distribution {name!r} has overwritten barnraise's package {package!r}. "
                    f"Run: pip uninstall {name} && pip install --force-reinstall --no-deps barnraise"
                )


def _distributions() -> dict[str, list[str]]:
    """Our packages, and who has files in them: by looking into lists of files without parsing them, which is quick."""
    found: dict[str, list[str]] = {}
    for distribution in importlib.metadata.distributions():
        files = distribution.read_text("RECORD") or distribution.read_text("installed-files.txt") or ""
        listed = f"\n{files}"
        for package in OUR_PACKAGES:
            if f"\n{package}/" in listed:
                found.setdefault(package, []).append(distribution.metadata["Name"])
    return found
