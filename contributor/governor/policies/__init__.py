"""The policies that ship with Barnraise, one file each."""

from __future__ import annotations

from barnraise.sections import Section
from contributor.governor.policies.bandwidth import Bandwidth
from contributor.governor.policies.battery import Battery
from contributor.governor.policies.disk import Disk
from contributor.governor.policies.exclusive_app import ExclusiveApp
from contributor.governor.policies.idle import Idle
from contributor.governor.policies.learned import Learned
from contributor.governor.policies.nice import Nice
from contributor.governor.policies.power import Power
from contributor.governor.policies.schedule import Schedule
from contributor.governor.policies.thermal import Thermal
from contributor.governor.policies.vram import Vram

__all__ = ["BUILT_IN"]

BUILT_IN: dict[str, type[Section]] = {
    "idle": Idle,
    "schedule": Schedule,
    "battery": Battery,
    "exclusive-app": ExclusiveApp,
    "thermal": Thermal,
    "power": Power,
    "vram": Vram,
    "bandwidth": Bandwidth,
    "disk": Disk,
    "nice": Nice,
    "learned": Learned,
}
