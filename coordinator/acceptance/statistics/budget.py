"""Is a model within its budget: seconds or bytes, one number and a limit. No examples, no statistics."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Budgeted", "within_budget"]


@dataclass(frozen=True, slots=True)
class Budgeted:
    """Whether it is, the most it may be, and why."""

    passed: bool
    most: float
    reason: str


def within_budget(
    base: float, candidate: float, limit: float | None, margin_ratio: float | None, unit: str = ""
) -> Budgeted:
    """Compare what a candidate costs with what it may; less is better.

    Args:
        base, candidate: what both cost, in ``unit``, measured alike.
        limit: it may never cost more; None: no limit.
        margin_ratio: it may cost so much more than its base, as a share of that; None: however much.

    Returns:
        passed where it is within both, and not where it is not a number.
    """
    bounds = []
    if limit is not None:
        bounds.append((limit, f"the limit is {limit:.4g}"))
    if margin_ratio is not None:
        above = base * (1 + margin_ratio)
        bounds.append((above, f"{margin_ratio:.0%} above its base is {above:.4g}"))
    most, why = min(bounds, default=(float("inf"), "no limit is set"))
    passed = candidate <= most
    ratio = f" ({candidate / base:.3g} times its base)" if base > 0 else ""
    unit = f" {unit}" if unit else ""
    state = "within" if passed else "over"
    return Budgeted(passed, most, f"{base:.4g} -> {candidate:.4g}{unit}{ratio}; {state} budget: {why}")
