"""Libraries of extras that only some work needs: imported when it begins, and asked for in words where they are not."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from barnraise.errors import MissingExtraError

__all__ = ["library"]


def library(name: str, extra: str, wanted_because: str) -> ModuleType:
    """A library, which may take seconds to import.

    Args:
        wanted_because: a sentence for whoever does not have it.

    Raises:
        MissingExtraError: it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(f"{wanted_because} Run: pip install 'barnraise[{extra}]'")
    return importlib.import_module(name)
