"""Compiles the loops of ``barnraise.native`` when Barnraise is installed or made into a wheel.

Without a compiler the installation goes on: the loops are optional.
"""

from __future__ import annotations

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeLoops(BuildHookInterface):  # type: ignore[type-arg]
    """Puts ``_kernels.so`` beside ``barnraise/native/__init__.py`` and into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; ``version`` is ``editable`` or ``standard``."""
        folder = Path(self.root) / "barnraise" / "native"
        problem = runpy.run_path(str(folder / "build.py"))["build"]()
        if problem is not None:
            self.app.display_warning(problem)
            return
        build_data["pure_python"] = False
        # ctypes loads it, so any Python will do; only the platform matters.
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["artifacts"].append("barnraise/native/_kernels.so")
