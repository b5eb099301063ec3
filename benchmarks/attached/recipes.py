"""How candidates for one and the same round differ from each other, honest ones and damaged ones."""

from __future__ import annotations

from dataclasses import dataclass

from barnraise.update_config import CodecConfig

__all__ = ["DIGITS_RECIPES", "RECIPES", "STDLIB_RECIPES", "TRUNK", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How a round differs from one of the trunk.

    Attributes:
        who: contributors, each of a domain of its own. steps: times the usual number of inner steps.
        rate: times the learning rate, of all but the first contributor. codec: of updates, in place of the run's.
        poison: what the first contributor multiplies its change by. gibberish: what it trains on means nothing.
        noise: added to the merged model, as a share of the mean magnitude of its weights. outer: learning rate of
            the outer step.
    """

    name: str
    honest: bool
    who: tuple[int, ...] = (0, 1, 2, 3)
    steps: float = 1.0
    rate: float = 1.0
    codec: CodecConfig | None = None
    poison: float = 0.0
    noise: float = 0.0
    gibberish: bool = False
    outer: float = 1.0


TRUNK = Recipe("trunk", True)
HALF = Recipe("half the steps", True, steps=0.5)
LONGER = Recipe("three times the steps", True, steps=3.0)
TWO = Recipe("two contributors", True, who=(1, 2))
POISONERS = (Recipe("a poisoner", False, poison=-3.0), Recipe("a strong poisoner", False, poison=-20.0))
MUCH_NOISE = Recipe("much noise", False, noise=0.2)
GIBBERISH = Recipe("one trains on gibberish", False, gibberish=True)
TOO_FAST = Recipe("all but one train too fast", False, rate=6.0)

RECIPES = (
    HALF,
    LONGER,
    TWO,
    *(Recipe(f"domain {who} alone", True, who=(who,)) for who in range(4)),
    Recipe("sparse codec", True, codec=CodecConfig(name="topk", k=32)),
    *POISONERS,
    Recipe("a little noise", False, noise=0.05),
    MUCH_NOISE,
    GIBBERISH,
    TOO_FAST,
)
STDLIB_RECIPES = (
    HALF,
    Recipe("twice the steps", True, steps=2.0),
    TWO,
    *(Recipe(f"domain {who} alone, longer", True, who=(who,), steps=2.0) for who in range(2)),  # forgets the others
    Recipe("sparse codec", True, codec=CodecConfig(name="topk", k=16)),
    *POISONERS,
    MUCH_NOISE,
    GIBBERISH,
    TOO_FAST,
    Recipe("outer steps four times as long", False, outer=4.0),
)
DIGITS_RECIPES = (
    HALF,
    LONGER,
    TWO,
    *(Recipe(f"form {who} alone", True, who=(who,)) for who in range(4)),
    Recipe("sparse codec", True, codec=CodecConfig(name="topk", k=32)),
    *POISONERS,
    Recipe("a little noise", False, noise=0.2),
    Recipe("much noise", False, noise=0.8),
    Recipe("one has wrong labels", False, gibberish=True),
    TOO_FAST,
)
