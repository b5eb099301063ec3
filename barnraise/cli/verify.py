"""``barnraise verify``: is a folder still the release it claims to be."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from barnraise.cli.output import WIDTH, print_result
from barnraise.cli.sources import JsonOption, TrustOption
from barnraise.releases.source import open_source
from barnraise.releases.trust import TrustOptions
from barnraise.releases.verify import PatchReport, verify_conversion, verify_derived, verify_folder, verify_patch

__all__ = ["verify"]


def verify(
    folder: Annotated[Path, typer.Argument(help="Folder that a release was pulled into.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="Also compute it again from there: parent plus patch, conversion, differences."),
    ] = None,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a release that was pulled, offline: signatures, every file, every tensor.

    Example: barnraise verify ./model
    """
    options = TrustOptions.of(trust)
    report = verify_folder(folder, options)
    checked, unchecked = list(report.checked), list(report.unchecked)
    result: dict[str, Any] = {**asdict(report), "checked": checked, "unchecked": unchecked, "patch": None}
    if source is not None:
        place = open_source(source)
        if report.derived:
            count = verify_derived(place, folder, options)
            result["decoded"] = count
            checked.append(f"decoding it again from {place.label} gives the same {count:,} tensors, bit for bit")
        else:
            if report.converted_to is not None:
                count = verify_conversion(place, folder, options)
                result["conversion"] = count
                checked.append(f"converting the release again gives the same {count:,} tensors, bit for bit")
                unchecked.pop()
            patch = verify_patch(place, report.version, trust=options, manifest_digest=report.manifest_digest)
            result["patch"] = asdict(patch)
            checked.append(_patched(patch))
    lines = [f"{report.name} {report.version} in {folder} is what it claims to be:"]
    lines += [line for one in checked for line in _wrapped("checked", one)]
    lines += [line for one in unchecked for line in _wrapped("not known", one)]
    print_result("verify", result, as_json=as_json, human="\n".join(lines))


def _patched(patch: PatchReport) -> str:
    share = 100 * patch.patch_bytes / patch.model_bytes
    return (
        f"the release equals {patch.parent} plus its patch, bit for bit; the patch has {patch.patch_bytes:,} bytes, "
        f"{share:.2f}% of the model"
    )


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"  {label:<10}", subsequent_indent=" " * 12, break_long_words=False
    )
