"""Settings that benchmarks measure and that stay, so that a dated page can be measured again after defaults change."""

from __future__ import annotations

from pathlib import Path

__all__ = ["TOPK_256"]

TOPK_256 = Path(__file__).with_name("topk_256.toml")
