"""``barnraise verify``: is a folder still the release it claims to be."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnraise.cli.output import WIDTH, print_result
from barnraise.cli.sources import JsonOption, TrustOption
from barnraise.releases.source import ReleaseSource, open_source
from barnraise.releases.trust import TrustOptions

if TYPE_CHECKING:
    from barnraise.releases.verify import FolderReport, PatchReport

__all__ = ["verify"]


def verify(
    folder: Annotated[Path, typer.Argument(help="Folder that a release was pulled into.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="Also compute it again from there: patch, keyframe, conversion, differences."),
    ] = None,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a release that was pulled, offline: signatures, every file, every tensor.

    Example: barnraise verify ./model
    """
    from barnraise.releases.verify import verify_folder  # with python-tuf and numpy, which no help needs

    options = TrustOptions.of(trust)
    report = verify_folder(folder, options)
    checked, unchecked = list(report.checked), list(report.unchecked)
    result: dict[str, Any] = {**asdict(report), "checked": checked, "unchecked": unchecked}
    result |= {"patch": None, "keyframe": None}
    if source is not None:
        again, lines = _computed_again(open_source(source), folder, report, options)
        result |= again
        checked += lines
        if report.converted_to is not None:
            unchecked.pop()  # that nobody signed what was converted, which was the last one
    said = [f"{report.name} {report.version} in {folder} is what it claims to be:"]
    said += [line for one in checked for line in _wrapped("checked", one)]
    said += [line for one in unchecked for line in _wrapped("not known", one)]
    print_result("verify", result, as_json=as_json, human="\n".join(said))


def _computed_again(
    place: ReleaseSource, folder: Path, report: FolderReport, trust: TrustOptions
) -> tuple[dict[str, Any], list[str]]:
    """What computing a folder's release again gave, for programs and in sentences."""
    from barnraise.releases.verify import KeyframeReport, verify_conversion, verify_derived, verify_release

    if report.derived:
        count = verify_derived(place, folder, trust)
        how = "decoding it again" if report.converted_to is None else "decoding and converting it again"
        return {"decoded": count}, [f"{how} from {place.label} gives the same {count:,} tensors, bit for bit"]
    result: dict[str, Any] = {}
    lines = []
    if report.converted_to is not None:
        result["conversion"] = count = verify_conversion(place, folder, trust)
        lines.append(f"converting the release again gives the same {count:,} tensors, bit for bit")
    found = verify_release(place, report.version, trust=trust, manifest_digest=report.manifest_digest)
    if isinstance(found, KeyframeReport):
        result["keyframe"] = asdict(found)
        lines.append(
            f"the release is stored whole, and its keyframe ({found.keyframe_bytes:,} bytes) from {place.label} is "
            "that model, bit for bit"
        )
    else:
        result["patch"] = asdict(found)
        lines.append(_patched(found))
    return result, lines


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
