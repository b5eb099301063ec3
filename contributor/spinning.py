"""How long a thread of a step spins while it waits for the others, before it sleeps.

The threads of a step meet at barriers, many times a step. GNU OpenMP, which torch brings on Linux, lets the one that
comes first spin through 300,000 looks, some milliseconds: right where every thread has a processor to itself. Beside
an owner's program the thread that is waited for may have none, and what is spun away meanwhile is lost to the owner and
to the node. Far fewer looks cost nothing where there is room; see benchmarks/spinning.py.

Source: GNU libgomp manual, GOMP_SPINCOUNT and OMP_WAIT_POLICY
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

__all__ = ["LOOKS", "spin_briefly"]

LOOKS = 10_000
OWN_CHOICE = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def spin_briefly(environ: MutableMapping[str, str] = os.environ) -> None:
    """Say so to OpenMP, which reads it when torch is imported; so call this before. What an owner has set stays."""
    if not any(name in environ for name in OWN_CHOICE):
        environ["GOMP_SPINCOUNT"] = str(LOOKS)
