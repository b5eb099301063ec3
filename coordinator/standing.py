"""Whether what a contributor sends is merged: its standing, as its scores in the ledger make it.

The walk itself is ``coordinator.acceptance.updates.probation``; here it is told what the ledger says of every
update: that it helps, that it does neither, or that it was recognised as no honest work or rejected. Only where
``standing.enforce`` says so does it decide anything: what somebody suspended sends is measured and not merged,
as from quarantine, so that better work is seen and ends the suspension's cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from barnraise.config import StandingConfig
from coordinator.acceptance.updates.contribution import UpdateScore
from coordinator.acceptance.updates.probation import Outcome, Standing, StandingPolicy, outcome_of, standing
from coordinator.acceptance.updates.recognition import Label, Recognised
from coordinator.ledger import ContributionRow, Ledger

__all__ = ["held_back", "history_of", "standing_of"]

UPDATES_MOST = 200
ROUNDS_MOST = 400
HONEST = Recognised("honest", "nothing was found", {})


def held_back(ledger: Ledger, contributor: str, number: int, config: StandingConfig) -> str | None:
    """Why what a contributor sends in round ``number`` is measured and not merged; None where it is merged.

    Args:
        contributor: its first key.
    """
    quarantined = ledger.quarantines().get(contributor)
    if quarantined is not None:
        return f"its contributor is in quarantine: {quarantined.reason}"
    if not config.enforce:
        return None
    found = standing_of(ledger, contributor, number, config)
    return f"its contributor is {found.reason}" if found.state == "suspended" else None


def standing_of(ledger: Ledger, contributor: str, number: int, config: StandingConfig) -> Standing:
    """A contributor's standing before round ``number``, from its newest 200 updates."""
    rows = [row for row in ledger.contributions_of(contributor, UPDATES_MOST) if row.round < number]
    recognised: dict[str, Mapping[str, Any]] = {}
    for one in ledger.newest_rounds(number, ROUNDS_MOST):
        recognised |= one.recognised
    policy = StandingPolicy(**config.model_dump(exclude={"enforce"}))
    return standing(history_of(rows, recognised), number, policy)


def history_of(rows: Iterable[ContributionRow], recognised: Mapping[str, Mapping[str, Any]]) -> list[Outcome]:
    """What became of updates, in the order of rounds; those that were never scored say nothing."""
    found = []
    for row in sorted(rows, key=lambda row: (row.round, row.digest)):
        score = (row.evidence or {}).get("score")
        if row.state in {"rejected", "reverted"}:
            found.append(Outcome(row.round, "flagged", f"{row.state}: {row.reason}"))
        elif score is not None:
            said = recognised.get(row.digest)
            label = Recognised(cast(Label, said["label"]), str(said["reason"]), {}) if said else HONEST
            found.append(outcome_of(row.round, UpdateScore.from_json(score), label))
    return found
