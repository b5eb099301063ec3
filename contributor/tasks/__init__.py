"""What a unit trains: module, examples and loss, by the architecture that the run names.

    architecture        task
    byte-lm             byte_lm.py
    causal-lm           causal_lm.py
    image-classifier    answering.py, as any architecture that answers examples

To add one that ships: a file here with a class that has the shape of :class:`Task`, and its line in
``make_task``. Another distribution offers one as an entry point of the group ``barnraise.tasks``, named
as the architecture; an architecture that answers (:class:`merge.architectures.Answering`) needs none.
"""

from __future__ import annotations

from contributor.tasks.make import AtHand, make_task
from contributor.tasks.task import Batch, Loss, Task

__all__ = ["AtHand", "Batch", "Loss", "Task", "make_task"]
