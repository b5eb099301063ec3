"""Magnitudes from bits."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from barnraise.updates.grid import LARGEST, SMALLEST, eighth_below, magnitudes, nearest_eighth


def test_every_step_of_an_octave_is_the_nearest_float32():
    with localcontext() as context:
        context.prec = 50
        for number in range(16):
            exact = Decimal(2) ** (Decimal(number) / 16)
            found = magnitudes(np.array([number]))[0]
            neighbours = [float(np.nextafter(found, np.float32(side))) for side in (0, 4)]
            assert all(abs(exact - Decimal(float(found))) < abs(exact - Decimal(other)) for other in neighbours)


def test_the_whole_grid_is_normal_finite_and_strictly_increasing():
    values = magnitudes(np.arange(SMALLEST, LARGEST + 1))
    assert values[0] == np.finfo(np.float32).tiny
    assert np.isfinite(values).all()
    assert (np.diff(values.astype(np.float64)) > 0).all()


def test_an_eighth_is_its_own_nearest_and_the_one_below_itself():
    eighths = np.arange(SMALLEST // 2, LARGEST // 2)
    values = magnitudes(2 * eighths).astype(np.float64)
    assert nearest_eighth(values).tolist() == eighths.tolist()
    assert eighth_below(values).tolist() == eighths.tolist()
    assert eighth_below(np.nextafter(values, 0)).tolist() == (eighths - 1).tolist()


@pytest.mark.parametrize(("value", "nearest", "below"), [(1.0, 0, 0), (1.9, 7, 7), (1.95, 8, 7), (0.3, -14, -14)])
def test_values_between_steps(value, nearest, below):
    assert nearest_eighth(np.array([value]))[0] == nearest
    assert eighth_below(np.array([value]))[0] == below
