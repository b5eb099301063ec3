"""``barnraise sample``: let a pulled model write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.output import print_result
from barnraise.cli.sources import JsonOption

__all__ = ["sample"]


def sample(
    folder: Annotated[Path, typer.Argument(help="Folder that a release was pulled into.")],
    prompt: Annotated[str, typer.Option("--prompt", help="What comes before.")] = "def ",
    length: Annotated[int, typer.Option("--length", min=1, max=4096, help="Bytes to write.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed writes the same text.")] = 0,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0 takes the likeliest byte.")] = 0.7,
    as_json: JsonOption = False,
) -> None:
    """Let a pulled model continue a text. Needs the contributor extra, for torch.

    Example: barnraise sample ./model --prompt "import "
    """
    from barnraise.errors import UsageError
    from barnraise.installation import require
    from barnraise.model_config import ByteLMConfig
    from barnraise.releases.load import load

    require("contributor")
    from merge.architectures import build, generate, load_flat

    config, space, flat_P = load(folder)
    if not isinstance(config, ByteLMConfig):
        raise UsageError(f"{folder} holds a model of architecture {config.architecture}; sample lets byte-lm write")
    module = build(config)
    load_flat(module, space, flat_P)
    written = generate(module, prompt.encode("utf-8"), length, seed, temperature).decode("utf-8", "backslashreplace")
    result = {"prompt": prompt, "text": written, "seed": seed, "temperature": temperature}
    print_result("sample", result, as_json=as_json, human=prompt + written)
