"""An adapter as a derived model: factors beside the matrices of its parent, in a folder as peft writes it.

    adapter_config.json          what peft makes of the factors: taken over as it is, and read by peft alone
    adapter_model.safetensors    base_model.model.LAYER.lora_A.weight [r, in], LAYER.lora_B.weight [out, r], ..

It is kept, signed and pulled as what it is, and whoever pulls it puts it on its parent with peft. Nothing of it runs
here. Whether it fits its parent is compared by names and shapes, so that what cannot be put on is not listed.

Source: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.folder import ADAPTER_CONFIG, read_json
from barnraise.errors import NotACheckpointError
from barnraise.releases.derived.manifest import ModelRef
from barnraise.releases.layout import ADAPTER_PREFIX
from barnraise.updates.space import ParameterSpace

__all__ = ["check_adapter", "is_adapter"]

# Factors as they end, with what of their two sides belongs to the matrix: rows and columns, or the other way round.
SIDES = {".lora_A.weight": 1, ".lora_B.weight": 0, ".lora_embedding_A": 1, ".lora_embedding_B": 0}


def is_adapter(checkpoint: Checkpoint) -> bool:
    """Whether an adapter was opened, as its tensors are called."""
    return all(name.startswith(ADAPTER_PREFIX) for name in checkpoint.tensors)


def check_adapter(checkpoint: Checkpoint, parent: ParameterSpace, ref: ModelRef) -> None:
    """Refuse an adapter that cannot be put on its parent.

    Raises:
        NotACheckpointError: it says another method than LoRA, or adapts what the parent does not have.
    """
    if checkpoint.folder is None or not (checkpoint.folder / ADAPTER_CONFIG).is_file():
        raise NotACheckpointError(
            f"{checkpoint.path} holds an adapter and no {ADAPTER_CONFIG}; name the folder that peft wrote, with both"
        )
    method = read_json(checkpoint.folder / ADAPTER_CONFIG).get("peft_type")
    if method != "LORA":
        raise NotACheckpointError(
            f"{checkpoint.folder / ADAPTER_CONFIG} says peft_type {str(method)[:32]!a}; expected LORA. Merge it into "
            "its base, and import the model"
        )
    shapes = {spec.name: spec.shape for spec in parent.tensors}
    for layer, factors in _layers(checkpoint).items():
        found = shapes.get(f"{layer}.weight")
        if found is None:
            raise NotACheckpointError(
                f"{checkpoint.path} adapts {layer[:64]!a}, which {ref.name} {ref.version} does not have; name the "
                "model that it was made on with --parent"
            )
        if set(factors) != {0, 1}:
            raise NotACheckpointError(f"{checkpoint.path}: {layer[:64]!a} has one factor, expected two; get it again")
        if sorted(factors.values()) != sorted(found):
            raise NotACheckpointError(
                f"{checkpoint.path}: factors of {layer[:64]!a} are for a matrix of [{factors[0]}, {factors[1]}], "
                f"{ref.name} {ref.version} has one of {list(found)}; it was made on another model"
            )


def _layers(checkpoint: Checkpoint) -> Mapping[str, dict[int, int]]:
    """Of every layer that has factors, how long the side of each is that belongs to the matrix."""
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for name, layer, side in _factors(checkpoint):
        shape = checkpoint.tensors[name].shape
        if len(shape) != 2:
            raise NotACheckpointError(f"{checkpoint.path}: {name[:96]!a} has shape {list(shape)}, expected a matrix")
        found[layer][side] = shape[side]
    if not found:
        raise NotACheckpointError(f"{checkpoint.path} holds no factors; expected tensors that end with lora_A.weight")
    return found


def _factors(checkpoint: Checkpoint) -> Iterator[tuple[str, str, int]]:
    """Tensor, layer and side of every factor. Whole tensors may lie beside them, as peft saves trained heads."""
    for name in checkpoint.tensors:
        for end, side in SIDES.items():
            if name.endswith(end):
                yield name, name.removeprefix(ADAPTER_PREFIX).removesuffix(end), side
