"""From a run's description to the task of one shard."""

from __future__ import annotations

from barnraise.corpora import corpus_of
from barnraise.data_config import DataConfig
from barnraise.model_config import ByteLMConfig, ModelConfig
from contributor.tasks.answering import AnsweringTask
from contributor.tasks.byte_lm import ByteLMTask
from contributor.tasks.task import Task

__all__ = ["make_task"]


def make_task(model: ModelConfig, data: DataConfig, shard: str) -> Task:
    """What a unit of ``shard`` trains.

    Raises:
        ConfigValueError: this Barnraise has no task for the architecture, or the shard has too little data.
        UnknownStrategyError: nor the architecture.
    """
    if isinstance(model, ByteLMConfig):
        return ByteLMTask(model, corpus_of(data).text(shard, "train"))
    return AnsweringTask(model, corpus_of(data).text(shard, "train"))
