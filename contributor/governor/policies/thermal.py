"""Thermal: train slower as the machine nears a temperature, and not at all above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from barnraise.sections import Section
from contributor.governor.observation import Observation
from contributor.governor.wish import Wish

__all__ = ["Hot", "Thermal"]

DUTY_LEAST = 0.25  # just below the limit, so that the machine can cool without a stop


@dataclass(frozen=True, slots=True)
class Hot:
    """Whether work stopped for heat, and has not begun again."""

    hot: bool = False


class Thermal(Section):
    """Keep the machine below these temperatures.

    Attributes:
        gpu_celsius_max, cpu_celsius_max: at which work stops.
        ease_celsius: width of the band below, in which training slows down; a stop ends below the band.
    """

    name: ClassVar[str] = "thermal"
    sensors: ClassVar[tuple[str, ...]] = ("gpu", "temperature")
    memory: ClassVar[type[Any] | None] = None
    gpu_celsius_max: Annotated[float, Field(gt=0)] = 83.0
    cpu_celsius_max: Annotated[float, Field(gt=0)] = 90.0
    ease_celsius: Annotated[float, Field(gt=0)] = 8.0

    def judge(self, seen: Observation, state: Hot | None) -> tuple[Wish, Hot]:
        """Ease off in the band below the limit, stop at the limit."""
        before = state or Hot()
        felt = self._felt(seen)
        if not felt:
            unknown = seen.why_not("cpu_celsius"), seen.why_not("gpus")
            return Wish(True, f"no temperature is known: {'; '.join(dict.fromkeys(unknown))}"), before
        over, place, celsius, limit = max(felt)
        after = Hot(over >= 0 or (before.hot and over > -self.ease_celsius))
        told = f"{place} is at {celsius:.0f} C"
        if over >= 0:
            return Wish(False, f"{told}, the limit is {limit:.0f} C"), after
        if after.hot:
            return Wish(False, f"{told}, work begins again below {limit - self.ease_celsius:.0f} C"), after
        duty = min(1.0, DUTY_LEAST + (1 - DUTY_LEAST) * -over / self.ease_celsius)
        return Wish(True, f"{told}, {-over:.0f} C below the limit of {limit:.0f} C", duty=duty), after

    def _felt(self, seen: Observation) -> list[tuple[float, str, float, float]]:
        """Degrees above the limit, place, temperature and limit, of everything that has a thermometer."""
        places = [
            (f"GPU {gpu.index}", gpu.celsius, self.gpu_celsius_max)
            for gpu in seen.gpus or ()
            if gpu.celsius is not None
        ]
        if seen.cpu_celsius is not None:
            places.append(("the processor", seen.cpu_celsius, self.cpu_celsius_max))
        return [(celsius - limit, place, celsius, limit) for place, celsius, limit in places]
