"""``barnraise round check``: were a round's hidden examples drawn as the run had committed to."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from barnraise.cli.rounds import Rounds
from barnraise.cli.sources import find_source
from barnraise.errors import UsageError, VerificationError

__all__ = ["check_draws"]


def check_draws(rounds: Rounds, number: int | None, trust: str | None) -> dict[str, Any]:
    """Check a round's draws against the anchor in the run's first release, which was signed before any round.

    Returns:
        ``{"from", "round", "anchor", "checks": [{"holds", "reason"}, ..]}``, JSON values.

    Raises:
        UsageError: nothing was drawn in that round.
        VerificationError: a draw is not what the seed says, or the seed not what was committed to.
    """
    from barnraise.installation import require

    require("coordinator")
    from coordinator.acceptance.hidden.drawing import check_record

    record = rounds.record(number)
    told = (record.verdict or {}).get("draws")
    if not told:
        raise UsageError(
            f"round {record.line.number} drew no hidden examples, or was not tested yet; rounds that did say so in "
            "barnraise round show"
        )
    anchor = _anchor(rounds.label, trust)
    checks = check_record(anchor, record.line.number, told)
    wrong = [check.reason for check in checks if not check.holds]
    if wrong:
        raise VerificationError(f"{'; '.join(wrong)}. Do not trust what this round's tests say")
    return {
        "from": rounds.label,
        "round": record.line.number,
        "anchor": anchor,
        "checks": [asdict(check) for check in checks],
    }


def _anchor(place: str, trust: str | None) -> str:
    """What the run's first release says, hex."""
    from barnraise.releases.catalog import Catalog
    from barnraise.releases.store import BlobStore
    from barnraise.releases.trust import TrustOptions, read_index

    source = find_source(place)
    index = read_index(source, TrustOptions.of(trust)).index
    with tempfile.TemporaryDirectory(prefix="barnraise-round-") as temporary:
        catalog = Catalog(source, index, BlobStore(Path(temporary)))
        first = catalog.manifest(index.releases[0])
        anchor = json.loads(bytes(catalog.blob(first.config))).get("draw_anchor")
    if not isinstance(anchor, str) or len(anchor) != 64:
        raise VerificationError(f"release {first.version} of {place} has no anchor of draws; nothing was committed to")
    return anchor
