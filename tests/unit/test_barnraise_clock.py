"""Times in words."""

from __future__ import annotations

import pytest

from barnraise.clock import lasting


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (-5000, "0 s"),
        (999, "0 s"),
        (119_999, "119 s"),
        (120_000, "2 min"),
        (7_199_999, "119 min"),
        (7_200_000, "2 h 0 min"),
        (90_060_000, "25 h 1 min"),
    ],
)
def test_a_length_of_time_is_said_as_finely_as_it_matters(milliseconds: int, said: str) -> None:
    assert lasting(milliseconds) == said
