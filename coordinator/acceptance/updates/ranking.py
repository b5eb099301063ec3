"""Who gives how much: contributors ranked by the scores of their updates, and weights from scores.

Scores of different rounds are not alike: what helps by half a bit in the first round helps
by a hundredth in the fortieth. So a score counts in units of its round (the root mean square
of the round's scores), and relative to the round's mean.

A contributor with two updates can look wonderful by chance. The rank is by the best linear
unbiased prediction: each contributor's mean is drawn towards everybody's mean, the more the
less is known of it. With R updates, an error variance s^2 of one score and a variance t^2
between contributors,

    value = mu + B (mean - mu),    B = t^2 / (t^2 + s^2 / R),    error = sqrt(B s^2 / R).

s^2 is what a contributor's scores scatter, and no less than their stated errors; t^2 is the
moment estimate. Where contributors scatter no more than their errors explain, t^2 is 0 and all
are alike.

C  contributors
K  updates in a round

Source: Robinson 1991, "That BLUP is a good thing", Statistical Science 6, 15-32; Morris 1983,
JASA 78, 47-55 (parametric empirical Bayes); DerSimonian & Laird 1986, Controlled Clinical Trials
7, 177-188 (t^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import NormalDist, fmean

__all__ = ["Rank", "ScoredUpdate", "ranking", "weights_from_scores"]

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class ScoredUpdate:
    """One update's value and standard error (``UpdateScore``), and whose it is."""

    contributor: str
    round: int
    value: float
    error: float


@dataclass(frozen=True, slots=True)
class Rank:
    """A contributor's place.

    Attributes:
        place: from 1; equal values share one. value: in units of a round's scores, 0 is everybody's mean.
        error: of ``value``. updates: how many are behind it.
    """

    contributor: str
    place: int
    value: float
    error: float
    updates: int
    reason: str


def ranking(scored: Sequence[ScoredUpdate]) -> tuple[Rank, ...]:
    """Contributors, best first; equal ones by name."""
    relative = _relative(scored)
    if not relative:
        return ()
    names = [name for name, _ in relative]
    means = [fmean(update.value for update in updates) for _, updates in relative]
    counts = [len(updates) for _, updates in relative]
    variance = _error_variance([updates for _, updates in relative])
    errors = [variance / count for count in counts]
    between = _between(means, errors)
    weights = [1 / (between + error) if between + error > 0 else 1.0 for error in errors]
    middle = sum(w * mean for w, mean in zip(weights, means, strict=True)) / sum(weights)
    rows = []
    for name, mean, count, error in zip(names, means, counts, errors, strict=True):
        trust = between / (between + error) if between > 0 else 0.0
        rows.append((middle + trust * (mean - middle), math.sqrt(trust * error), name, mean, count, trust))
    rows.sort(key=lambda row: (-row[0], row[2]))
    return tuple(
        Rank(name, 1 + sum(other[0] > value for other in rows), value, error, count, _said(mean, count, trust, value))
        for value, error, name, mean, count, trust in rows
    )


def weights_from_scores(
    planned: Sequence[float], values: Sequence[float], errors: Sequence[float], bound: float
) -> tuple[float, ...]:
    """Weights of one round that follow the scores, and add up to what was planned.

    Of updates planned alike, a better one never gets less, and none gets more than ``bound`` times another. Where
    scores differ no more than their errors explain, the weights stay as planned.

    Args:
        planned: weights without scores, K. values, errors: of the updates' scores. bound: at least 1.
    """
    assert bound >= 1, bound
    if not planned:
        return ()
    noise = fmean(error * error for error in errors)
    between = _between(list(values), [error * error for error in errors])
    spread, middle = math.sqrt(between + noise), fmean(values)
    trust = between / (between + noise) if between > 0 else 0.0
    tilts = [trust * (_NORMAL.cdf((value - middle) / spread) - 0.5) if trust else 0.0 for value in values]
    raw = [weight * bound**tilt for weight, tilt in zip(planned, tilts, strict=True)]
    scale = sum(planned) / sum(raw)
    return tuple(weight * scale for weight in raw)


def _relative(scored: Sequence[ScoredUpdate]) -> list[tuple[str, list[ScoredUpdate]]]:
    """Every contributor with its updates in their rounds' units, by name. A round of one update compares nobody."""
    found = []
    for _, group in groupby(sorted(scored, key=lambda update: update.round), key=lambda update: update.round):
        members = list(group)
        unit = math.sqrt(fmean(update.value**2 for update in members))
        if len(members) < 2 or unit == 0:
            continue
        middle = fmean(update.value for update in members)
        for update in members:
            value, error = (update.value - middle) / unit, update.error / unit
            found.append(ScoredUpdate(update.contributor, update.round, value, error))
    found.sort(key=lambda update: (update.contributor, update.round))
    return [(name, list(group)) for name, group in groupby(found, key=lambda update: update.contributor)]


def _error_variance(groups: Sequence[Sequence[ScoredUpdate]]) -> float:
    """Variance of one score about its contributor's mean: as observed, and no less than stated."""
    stated = fmean(update.error**2 for group in groups for update in group)
    freedom = sum(len(group) - 1 for group in groups)
    if freedom == 0:
        return stated
    means = [fmean(update.value for update in group) for group in groups]
    squares = sum((u.value - mean) ** 2 for group, mean in zip(groups, means, strict=True) for u in group)
    return max(stated, squares / freedom)


def _between(means: Sequence[float], variances: Sequence[float]) -> float:
    """Variance between means beyond what their own ``variances`` explain; 0 where there is none."""
    if len(means) < 2:
        return 0.0
    least = max(max(variances) * 1e-12, 1e-300)  # a variance of zero would weigh without end
    weights = [1 / max(variance, least) for variance in variances]
    whole = sum(weights)
    middle = sum(w * mean for w, mean in zip(weights, means, strict=True)) / whole
    scatter = sum(w * (mean - middle) ** 2 for w, mean in zip(weights, means, strict=True))
    room = whole - sum(w * w for w in weights) / whole
    return max(0.0, (scatter - (len(means) - 1)) / room)


def _said(mean: float, count: int, trust: float, value: float) -> str:
    return (
        f"{count} updates, {mean:+.2f} of a round's scores on average, of which {trust:.0%} is believed: {value:+.2f}"
    )
