"""Probe a channel after it moved forward; a release that is shown to be worse moves it back. An action.

A move back is not probed: there would be no end to it. Neither is one from a release that the
channel may not move back to: it was yanked, or maintainers promote it no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from barnraise.config import ChannelConfig
from barnraise.errors import BarnraiseError, RayLostError
from barnraise.suite import ProbeConfig
from barnraise.versions import parse_version
from coordinator.acceptance.probe import Probed, probe_models
from coordinator.conductor.actions import Finished, Work, measure_tasks, require_found, whole
from coordinator.conductor.reverting import Workshop
from coordinator.ledger import ChannelRow, ReleaseRow
from coordinator.ledger.events import ChannelMoved
from coordinator.ledger.order_events import ChannelProbed
from coordinator.orders.rules import STABLE

__all__ = ["due", "probe_channel"]


def due(
    rows: Sequence[ChannelRow], channels: dict[str, ChannelConfig], releases: Sequence[ReleaseRow]
) -> ChannelRow | None:
    """The first channel that has moved forward and was not probed since."""
    by_version = {release.version: release for release in releases}
    for row in rows:
        settings, previous = channels.get(row.channel), by_version.get(row.previous or "")
        if settings is None or not settings.probes or row.probe is not None or previous is None:
            continue
        if previous.yanked is not None or (row.channel == STABLE and previous.promoted_at_ms is None):
            continue
        if parse_version(row.version) > parse_version(previous.version):
            return row
    return None


def probe_channel(shop: Workshop, row: ChannelRow, probes: Sequence[ProbeConfig]) -> Work:
    """Compare a channel's release with the one before it; what cannot be compared stays, and says so."""
    assert row.previous is not None
    desk, config = shop.desk, shop.desk.config
    try:
        before, now = shop.require_model(row.previous), shop.require_model(row.version)
        models = dict.fromkeys((before.model_digest, now.model_digest))
        require_found((yield [task for model in models for task in measure_tasks(desk, model, whole(probes))]))
        was, found = (desk.all_measured(model.model_digest, probes) for model in (before, now))
        probed = probe_models(probes, was, found, config.acceptance.alpha)
    except RayLostError:
        raise
    except BarnraiseError as error:
        probed = Probed(True, f"not probed: {error}", {})
    now_there = [found for found in shop.ledger.channel_rows() if found.channel == row.channel]
    if due(now_there, config.channels, shop.ledger.releases()) != row:  # moved, yanked or withdrawn meanwhile
        return Finished(None)
    back = "" if probed.passed else f"; it moves back to {row.previous}"
    told = ChannelProbed(
        row.channel, row.version, row.previous, probed.passed, f"{probed.reason}{back}", probed.summary
    )
    if probed.passed:
        return Finished(None, (told,))
    moved = ChannelMoved(row.channel, row.version, row.previous, f"back from {row.version}: {probed.reason}")
    return Finished(None, (told, moved))
