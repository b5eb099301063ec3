"""From a run's description to the task of one shard."""

from __future__ import annotations

from barnraise.config import DataConfig
from barnraise.corpus import Corpus
from barnraise.errors import ConfigValueError
from barnraise.model_config import ByteLMConfig, ModelConfig
from contributor.tasks.byte_lm import ByteLMTask
from contributor.tasks.task import Task

__all__ = ["make_task"]


def make_task(model: ModelConfig, data: DataConfig, shard: str) -> Task:
    """What a unit of ``shard`` trains.

    Raises:
        ConfigValueError: this Barnraise has no task for the architecture, or the shard has too little data.
    """
    if isinstance(model, ByteLMConfig):
        return ByteLMTask(model, Corpus.of(data).text(shard, "train"))
    raise ConfigValueError(
        f"the run trains {model.architecture}, for which this Barnraise has no task; install a newer one, or the "
        "distribution that offers it"
    )
