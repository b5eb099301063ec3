"""Loops in C under sanitizers: whoever reads or writes beyond a buffer, or does what C leaves open, is ended."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

__all__ = ["fuzz"]

HERE = Path(__file__).parent
PROGRAMS = HERE / "native"
SOURCE = HERE.parent / "barnraise/native/src"
OPTIONS = (
    "-std=c11",
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize=null,object-size",  # the first one sees that as well, and compiling takes half as long again
    "-fno-sanitize-recover=all",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
    f"-I{SOURCE}",
    f"-include{PROGRAMS / 'processor.h'}",
)


def fuzz(name: str, files: Sequence[str], rounds: int, folder: Path, cases: bytes = b"") -> None:
    """Compile tests/native/NAME_fuzz.c with files of loops, let it read the cases, and see that it ends well.

    Skips the test where nothing compiles, or not with sanitizers.

    Args:
        files: in barnraise/native/src, ``*.c`` being left out; patterns may be given.
        rounds: what they are is said by the program.
    """
    compiler = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no compiler here")
    program = folder / "fuzz"
    sources = [PROGRAMS / f"{name}_fuzz.c", *(path for each in files for path in sorted(SOURCE.glob(f"{each}.c")))]
    command = [compiler, *OPTIONS, *map(str, sources), "-lm", "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and ("sanitize" in built.stderr or "cannot find -l" in built.stderr):
        pytest.skip("this compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(program), str(rounds)], input=cases, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"DONE")
