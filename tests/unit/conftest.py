"""Settings of the tests here."""

from __future__ import annotations

from quick_disk import never_waits

__all__ = ["never_waits"]
