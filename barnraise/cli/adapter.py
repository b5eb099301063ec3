"""``barnraise adapter``: the factors of an update, as peft loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.output import JsonOption, print_result

__all__ = ["adapter"]


def adapter(
    update: Annotated[Path, typer.Argument(help="File of an update from a run with update.lora.")],
    folder: Annotated[Path, typer.Argument(help="Folder to make, for the adapter.")],
    base: Annotated[Path, typer.Option("--base", help="Folder that the update's base was pulled into.")],
    as_json: JsonOption = False,
) -> None:
    """Write an update's factors as a LoRA adapter, which peft puts on the update's base.

    Example: barnraise adapter ./change.update ./adapter --base ./model
    """
    from barnraise.errors import UsageError
    from barnraise.installation import require
    from barnraise.model_config import CausalLMConfig
    from barnraise.releases.installed import Installed
    from barnraise.releases.manifest import Manifest
    from barnraise.updates import Update

    require("contributor")
    from contributor.training.adapter_folder import adapter_of
    from merge.architectures.causal_lm import CausalLMArchitecture

    manifest = Installed.open(base).manifest
    if not isinstance(manifest, Manifest) or not isinstance(manifest.model, CausalLMConfig):
        raise UsageError(
            f"{base} holds no release of a causal-lm, and peft adapts those; update.lora of others is ours"
        )
    if not update.is_file():
        raise UsageError(f"there is no file {update}; expected that of an update")
    parsed = Update.parse(update.read_bytes(), manifest.space, base_digest=manifest.model_digest)
    parsed.validate()
    files = adapter_of(CausalLMArchitecture(manifest.model).outline(), parsed)
    written = files.write(folder)
    rank, layers = files.config["r"], len(files.config["target_modules"])
    result = {"folder": str(folder), "layers": layers, "rank": rank, "bytes": written}
    human = f"{folder}: rank {rank} for {layers} layers of {manifest.name} {manifest.version}, {written:,} bytes"
    print_result("adapter", result, as_json=as_json, human=human)
