"""Loops in C under sanitizers: whoever reads or writes beyond a buffer, or does what C leaves open, is ended."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["fuzz"]

HERE = Path(__file__).parent
SOURCE = HERE.parent / "barnraise/native/src"
OPTIONS = (
    "-std=c11",
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-Wall",
    "-Wextra",
    "-Werror",
)


def fuzz(name: str, rounds: int, folder: Path, cases: bytes = b"") -> None:
    """Compile tests/native/NAME_fuzz.c with the loops in NAME*.c, let it read the cases, and see that it ends well.

    Skips the test where nothing compiles, or not with sanitizers.
    """
    compiler = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no compiler here")
    program = folder / "fuzz"
    files = [HERE / f"native/{name}_fuzz.c", *sorted(SOURCE.glob(f"{name}*.c"))]
    command = [compiler, *OPTIONS, f"-I{SOURCE}", *map(str, files), "-lm", "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and ("sanitize" in built.stderr or "cannot find -l" in built.stderr):
        pytest.skip("this compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(program), str(rounds)], input=cases, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"DONE")
