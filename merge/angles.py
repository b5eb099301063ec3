"""Angles out of cosines, and back, with nothing but the four operations and square roots.

Those round alike everywhere, while a mathematical library's sine may differ in its last bit
from one processor to the next, and with it a merge. Arguments are halved until a short power
series is exact to the last digits, and the result is doubled back.

Source: the half- and double-angle formulae; Taylor's series of sine, cosine and arctangent.
"""

from __future__ import annotations

from math import pi, sqrt

__all__ = ["angle", "sine_and_cosine"]

HALVINGS = 3
TERMS = 10  # of a series at arguments below 0.4: what is left out is below 1e-20


def angle(cosine: float) -> float:
    """The angle in [0, pi] with this cosine; what lies beyond -1 or 1 by rounding counts as that."""
    if cosine >= 1:
        return 0.0
    if cosine <= -1:
        return pi
    tangent = sqrt((1 - cosine) / (1 + cosine))  # of half the angle
    return 2 * _arctangent(tangent)


def sine_and_cosine(radians: float) -> tuple[float, float]:
    """Of an angle in [0, pi]."""
    part = radians / (1 << HALVINGS)
    sine, cosine, term = 0.0, 0.0, 1.0
    for power in range(2 * TERMS):
        sign = -1.0 if power % 4 >= 2 else 1.0
        if power % 2:
            sine += sign * term
        else:
            cosine += sign * term
        term = term * part / (power + 1)
    for _ in range(HALVINGS):
        sine, cosine = 2 * sine * cosine, cosine * cosine - sine * sine
    return sine, cosine


def _arctangent(value: float) -> float:
    """Of a value that is not negative."""
    if value > 1:
        return pi / 2 - _arctangent(1 / value)
    for _ in range(HALVINGS):
        value = value / (1 + sqrt(1 + value * value))
    square, power, total = value * value, value, 0.0
    for term in range(TERMS):
        total += power / (2 * term + 1) * (-1.0 if term % 2 else 1.0)
        power *= square
    return total * (1 << HALVINGS)
