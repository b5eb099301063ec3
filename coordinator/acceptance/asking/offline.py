"""Keep other software from fetching anything while a test runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["offline"]

VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE")
READ_ONCE = (
    ("huggingface_hub.constants", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_DATASETS_OFFLINE"),
    ("datasets.config", "HF_HUB_OFFLINE"),
    ("evaluate.config", "HF_EVALUATE_OFFLINE"),
)
"""Where that software keeps what the variables said when it was imported."""


@contextmanager
def offline() -> Iterator[None]:
    """Hugging Face's libraries use local files alone while this lasts, whether they are imported yet or not."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    loaded = [(sys.modules[module], name) for module, name in READ_ONCE if hasattr(sys.modules.get(module), name)]
    were = [getattr(module, name) for module, name in loaded]
    os.environ |= dict.fromkeys(VARIABLES, "1")
    for module, name in loaded:
        setattr(module, name, True)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for (module, name), was in zip(loaded, were, strict=True):
            setattr(module, name, was)
