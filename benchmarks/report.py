"""What stands around a benchmark's numbers: its arguments, the machine that they belong to, and the dated page.

Scripts are started as files (``python benchmarks/NAME.py``), so this folder is where they look for it.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from barnraise import native

__all__ = ["arguments", "finish", "heading", "machine"]

RESULTS = Path(__file__).parent / "results"


def arguments(doc: str | None, *, quick: str = "", peers: str = "") -> argparse.ArgumentParser:
    """A parser with ``--write``, and with ``--quick`` and ``--peers`` where there is something to say of them.

    Args:
        doc: the script's own documentation, whose first line is the description.
    """
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    if quick:
        parser.add_argument("--quick", action="store_true", help=quick)
    if peers:
        parser.add_argument("--peers", metavar="PYTHON", help=peers)
    parser.add_argument("--write", action="store_true", help="leave a dated file in benchmarks/results/")
    return parser


def machine(*packages: str, peer: str = "") -> str:
    """Processor, memory, versions of these packages and of a peer, and what else the machine does now."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":")[1].strip() for line in told.splitlines() if line.startswith("model name")), "")
    width = "AVX-512" if "avx512f" in told else "AVX2" if "avx2" in told else "no AVX2"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    loops = "compiled loops" if native.available() else "NO compiled loops"
    return (
        f"{model or platform.machine()} ({width}), {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"{', '.join([*versions, *([peer] if peer else [])])}; {loops} on {native.threads()} threads. "
        f"Load when it began: {os.getloadavg()[0]:.1f}."
    )


def heading(title: str, *packages: str, peer: str = "") -> list[str]:
    """The first lines of a page, to be made before anything is measured; see :func:`machine`."""
    return [f"# {title}, {_today()}", "", machine(*packages, peer=peer), ""]


def finish(name: str, lines: Sequence[str], *, write: bool) -> Path | None:
    """Print a page; with ``write`` it is also the results of today of the script ``name``.

    Returns:
        its file, if there is one.
    """
    text = "\n".join(lines).rstrip() + "\n"
    print(text, end="")
    if not write:
        return None
    RESULTS.mkdir(exist_ok=True)
    page = RESULTS / f"{name}-{_today()}.md"
    page.write_text(text)
    return page


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
