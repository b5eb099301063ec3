"""Compile the loops: ``python -m barnraise.native.build``. Run when Barnraise is installed.

Needs a C compiler and nothing else: ``cc``, or what ``CC`` names. No option depends on the
machine that compiles; on x86 each loop is compiled for several vector widths and the loader
picks one (``MULTIVERSION`` in src/kernels.h), so a library may travel.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["OPTIONS", "build"]

HERE = Path(__file__).resolve().parent
OPTIONS = (
    "-std=c11",
    "-O3",
    "-fPIC",
    "-shared",
    "-ffp-contract=off",  # a fused multiply-add rounds once where the plain code rounds twice
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
)
PLAIN = "the plain implementations are used, which give the same bits more slowly"


def build(target: Path = HERE / "_kernels.so") -> str | None:
    """Compile all of ``src`` into ``target``; what was there is replaced as a whole or left alone.

    Returns:
        None, or in one sentence why there is no new library.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return f"no C compiler was found; {PLAIN}"
    sources = sorted(str(path) for path in (HERE / "src").glob("*.c"))
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        command = [*shlex.split(compiler), *OPTIONS, *sources, "-o", str(made), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as problem:
            return f"the C compiler {compiler} cannot be run ({problem.strerror}); {PLAIN}"
        if done.returncode:
            return f"{compiler} could not compile the loops; {PLAIN}\n{done.stderr.strip()}"
        made.replace(target)
    return None


if __name__ == "__main__":
    problem = build()
    if problem is not None:
        sys.exit(f"barnraise: {problem}")
