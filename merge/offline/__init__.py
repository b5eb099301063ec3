"""Merging whole models outside a run, from sources that the caller opened, with a round's mathematics."""

from merge.offline.choose import choose, needs_fisher, needs_grams
from merge.offline.job import Inputs, MergedTensor, OfflineMerge, Treatment, lay_out
from merge.offline.merging import buffer_bytes, bytes_to_read, merge_offline
from merge.offline.needs import needs_tensors
from merge.offline.passes import Progress
from merge.offline.tensors import TensorSink, TensorSource

__all__ = [
    "Inputs",
    "MergedTensor",
    "OfflineMerge",
    "Progress",
    "TensorSink",
    "TensorSource",
    "Treatment",
    "buffer_bytes",
    "bytes_to_read",
    "choose",
    "lay_out",
    "merge_offline",
    "needs_fisher",
    "needs_grams",
    "needs_tensors",
]
