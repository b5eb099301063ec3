"""A trunk as acceptance tests see it, by its architecture.

P  parameters
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.model_config import ByteLMConfig, ModelConfig
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.models.answering_subject import AnsweringSubject
from coordinator.acceptance.models.subject import ByteSubject, Subject

__all__ = ["trunk_subject"]


def trunk_subject(flat_P: NDArray[np.float32], model: ModelConfig, space: ParameterSpace) -> Subject:
    """The model with these parameters, float32 [P].

    Raises:
        AcceptanceError: no test of this Barnraise can look at such a model.
    """
    if isinstance(model, ByteLMConfig):
        return ByteSubject(flat_P, model, space)
    return AnsweringSubject(flat_P, model, space)
