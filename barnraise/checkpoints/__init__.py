"""Models in local files, as safetensors and Hugging Face folders: reading, comparing, writing. numpy only."""

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.compare import config_differences, tensor_differences
from barnraise.checkpoints.digests import DigestedCheckpoint
from barnraise.checkpoints.dtypes import FLOATS, ITEM_BYTES, OUTPUT_NAMES
from barnraise.checkpoints.header import StoredTensor
from barnraise.checkpoints.write import CheckpointWriter, Shard, plan_shards

__all__ = [
    "FLOATS",
    "ITEM_BYTES",
    "OUTPUT_NAMES",
    "Checkpoint",
    "CheckpointWriter",
    "DigestedCheckpoint",
    "Shard",
    "StoredTensor",
    "config_differences",
    "plan_shards",
    "tensor_differences",
]
