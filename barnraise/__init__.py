"""Build one machine-learning model the way open-source software is built.

This package is the public face and the kernel that the other three share. It imports
neither torch nor ray: pulling, verifying and inspecting a release needs numpy only.
``barnraise.pull`` and ``barnraise.load`` are the Python API (docs/python-api.md); importing
the package alone imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barnraise.api import Model, PullResult, load, pull

__all__ = ["Model", "PullResult", "__version__", "load", "pull"]

__version__ = "0.1.0"

_PUBLIC = ("Model", "PullResult", "load", "pull")


def __getattr__(name: str) -> Any:
    """What is public, imported when it is first asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'barnraise' has no attribute {name!r}")
    from barnraise import api

    value = globals()[name] = getattr(api, name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
