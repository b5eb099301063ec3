"""A drill for operators: one unit whose change is flipped and scaled, and properly signed.

It does everything that an honest contributor does, lease, training, compression, signature
and upload, so nothing but the content gives it away. A run that releases it has an
acceptance suite that is too weak.

    python -m contributor.poison http://127.0.0.1:PORT --home DIR --scale 10

Use it against your own run only.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import BarnraiseError
from contributor.events import NodeEvent
from contributor.interrupt import Interrupt
from contributor.parts import Change
from contributor.run import NodeConfig, run_node

__all__ = ["flipped", "main"]


def flipped(scale: float) -> Change:
    """A change that undoes training, ``scale`` times over."""

    def change(change_P: NDArray[np.float32]) -> NDArray[np.float32]:
        return change_P * np.float32(-scale)

    return change


def main(arguments: list[str] | None = None) -> int:
    """Send one poisoned update; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m contributor.poison", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("url", help="coordinator of a run of your own")
    parser.add_argument("--home", type=Path, required=True, help="folder for its key and state")
    parser.add_argument("--name", default="poison-drill")
    parser.add_argument("--scale", type=float, default=10.0, help="how many times the honest change (default 10)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    chosen = parser.parse_args(arguments)

    def report(event: NodeEvent) -> None:
        print(json.dumps(event.as_json()) if chosen.json else event.line(), flush=True)

    honest = NodeConfig(chosen.url, chosen.name, chosen.home, chosen.home / "identity.key", chosen.threads)
    interrupt = Interrupt()
    try:
        with interrupt.on_signals():
            run_node(replace(honest, change=flipped(chosen.scale)), report, 1, interrupt)
    except BarnraiseError as error:
        print(f"barnraise: {error.reason}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
