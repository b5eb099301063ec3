"""From a lease and the model that it starts from to the task of one shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import cast

from barnraise.corpora import corpus_of
from barnraise.data_config import DataConfig, LocalData
from barnraise.digest import digest_bytes
from barnraise.errors import VerificationError
from barnraise.model_config import ByteLMConfig, CausalLMConfig, ModelConfig
from barnraise.tokenizer import Tokenizer
from contributor.own_data import OwnData
from contributor.tasks.answering import AnsweringTask
from contributor.tasks.byte_lm import ByteLMTask
from contributor.tasks.causal_lm import CausalLMTask
from contributor.tasks.task import Task
from merge.architectures import ecosystem_files
from merge.strategies.registry import Shelf

__all__ = ["AtHand", "make_task"]


_SHELF: Shelf[Task] = Shelf("task", "barnraise.tasks", {}, ("unit", "module", "batch", "loss", "tokens"))


def _unheard(sentence: str) -> None:
    return None


def _nothing(name: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class AtHand:
    """What a unit finds on its machine, beside what the run states.

    Attributes:
        seed: of the lease.
        side: the content of a file beside the weights of the release that the unit starts from, by name.
        own: the contributor's own text, where there is some. tell: gets a sentence about what of it cannot be used.
    """

    seed: int = 0
    side: Callable[[str], bytes | None] = _nothing
    own: OwnData | None = None
    tell: Callable[[str], None] = _unheard


def make_task(model: ModelConfig, data: DataConfig, shard: str, at_hand: AtHand | None = None) -> Task:
    """What a unit of ``shard`` trains.

    Raises:
        ConfigValueError: this Barnraise has no task for the architecture, or the shard has too little data.
        UnknownStrategyError: nor the architecture.
        MissingExtraError: transformers, or the tokeniser's library, is not installed.
        VerificationError: the release's tokeniser is not the one that its manifest states.
    """
    at_hand = at_hand or AtHand()
    if isinstance(data, LocalData) and at_hand.own is not None:
        text = at_hand.own.part(at_hand.seed, at_hand.tell)
    else:
        text = corpus_of(data).text(shard, "train")
    if isinstance(model, ByteLMConfig):
        return ByteLMTask(model, text)
    if isinstance(model, CausalLMConfig):
        return CausalLMTask(model, _tokenizer(model, at_hand.side), text)
    if entry_points(group=_SHELF.group, name=model.architecture):
        return cast(Callable[..., Task], _SHELF.find(model.architecture))(model, text)
    return AnsweringTask(model, text)


def _tokenizer(model: CausalLMConfig, side: Callable[[str], bytes | None]) -> Tokenizer:
    """The trunk's own, of files whose digests the manifest states; one of bytes where there are none."""
    if not model.files:
        return Tokenizer.of(ecosystem_files(model))
    found = {}
    for name, digest in model.files.items():
        data = side(name)
        if data is None or digest_bytes(data) != digest:
            raise VerificationError(
                f"{name} of the release is {'missing' if data is None else digest_bytes(data)[:15] + '..'}, its "
                f"manifest says {digest[:15]}..; nothing was trained. Pull it again, or tell the operator"
            )
        found[name] = data
    return Tokenizer.of(found)
