"""How long threads spin is said to OpenMP unless the owner has."""

from __future__ import annotations

import pytest

from contributor.spinning import LOOKS, spin_briefly


def test_the_number_of_looks_is_said() -> None:
    environ = {"HOME": "/home/ada"}
    spin_briefly(environ)
    assert environ == {"HOME": "/home/ada", "GOMP_SPINCOUNT": str(LOOKS)}


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "infinity"}])
def test_what_the_owner_has_chosen_stays(own: dict[str, str]) -> None:
    environ = dict(own)
    spin_briefly(environ)
    assert environ == own
