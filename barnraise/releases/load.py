"""An installed release as values: what a program that uses the model begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.config import ModelConfig
from barnraise.releases.installed import Installed
from barnraise.updates.space import ParameterSpace

__all__ = ["load"]


def load(folder: Path) -> tuple[ModelConfig, ParameterSpace, NDArray[np.float32]]:
    """Architecture, layout, and float32 [P] (read-only) of the release in ``folder``, verified.

    Raises:
        VerificationError: something is missing or altered.
    """
    installed = Installed.read(folder)
    return installed.manifest.model, installed.space, installed.flat_P
