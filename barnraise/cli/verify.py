"""``barnraise verify``: is a folder still the release it claims to be."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from barnraise.cli.output import print_result
from barnraise.cli.sources import JsonOption, TrustOption
from barnraise.releases.source import open_source
from barnraise.releases.trust import TrustOptions
from barnraise.releases.verify import verify_folder, verify_patch

__all__ = ["verify"]


def verify(
    folder: Annotated[Path, typer.Argument(help="Folder that a release was pulled into.")],
    source: Annotated[
        str | None, typer.Option("--from", help="Also check there that it is its parent plus its patch.")
    ] = None,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a release that was pulled, offline: every tensor, and the model's digest.

    Example: barnraise verify ./model
    """
    report = verify_folder(folder)
    result: dict[str, Any] = {**asdict(report), "checked": list(report.checked), "patch": None}
    lines = [
        f"{report.name} {report.version} in {folder} is what it claims to be:",
        *(f"  {c}" for c in report.checked),
    ]
    if source is not None:
        place = open_source(source)
        patch = verify_patch(place, report.version, trust=TrustOptions.of(trust))
        result["patch"] = asdict(patch)
        share = 100 * patch.patch_bytes / patch.model_bytes
        lines.append(
            f"  it equals {patch.parent} plus its patch, bit for bit; the patch has {patch.patch_bytes:,} bytes, "
            f"{share:.2f}% of the model"
        )
    print_result("verify", result, as_json=as_json, human="\n".join(lines))
