"""``barnraise show``: everything about one release."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from barnraise.cli.output import field, print_result, print_warnings, table, wrapped
from barnraise.cli.sources import FromOption, JsonOption, TrustOption, find_source
from barnraise.errors import VerificationError
from barnraise.message import BlobRef
from barnraise.releases.catalog import Catalog
from barnraise.releases.derived.names import derived_names, select_derived
from barnraise.releases.layout import side_files
from barnraise.releases.lineage import Lineage, read_lineage
from barnraise.releases.manifest import Manifest
from barnraise.releases.source import MANIFEST_MAX_BYTES
from barnraise.releases.store import BlobStore
from barnraise.releases.trust import TrustOptions, read_index
from barnraise.versions import select, split_spec

__all__ = ["show", "test_table"]

LAST_SECOND = 253_402_300_799  # of the year 9999, the last that datetime can say


def show(
    version: Annotated[str, typer.Argument(help="A version, range or channel; NAME@VERSION of a derived model.")] = "*",
    source: FromOption = None,
    trust: TrustOption = None,
    card: Annotated[bool, typer.Option("--card", help="Print the model card instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one release or derived model: lineage, how it is stored, its tests, who contributed.

    Example: barnraise show 0.1.2
    """
    place = find_source(source)
    trusted = read_index(place, TrustOptions.of(trust))
    index, warnings = trusted.index, list(trusted.warnings)
    name, wanted = split_spec(version)
    if name in derived_names(index):
        from barnraise.cli.show_derived import show_derived

        show_derived(place, index, select_derived(index, name, wanted), warnings, as_json=as_json)
        return
    selection = select(index.yanked, version.rpartition("@")[2] or "*", index.channels, trusted.promoted)
    if selection.warning:
        warnings.append(selection.warning)
    with tempfile.TemporaryDirectory(prefix="barnraise-show-") as temporary:
        catalog = Catalog(place, index, BlobStore(Path(temporary)))
        manifest = catalog.manifest(index.entry(selection.version))
        tests = _tests(catalog, manifest)
        lineage = read_lineage(_small(catalog, manifest.lineage), f"the lineage entry of {manifest.version}")
        page = bytes(_small(catalog, manifest.card)).decode("utf-8", "backslashreplace")
    result = {
        "from": place.label,
        "manifest": manifest.model_dump(mode="json"),
        "lineage": lineage.model_dump(mode="json"),
        "card": page,
        "tests": tests,
        "warnings": warnings,
    }
    print_warnings(warnings, as_json=as_json)
    print_result("show", result, as_json=as_json, human=page.rstrip("\n") if card else _words(manifest, lineage, tests))


def _small(catalog: Catalog, blob: BlobRef) -> memoryview:
    """A page that the manifest names.

    Raises:
        VerificationError: far larger than any such page is.
    """
    if blob.size_bytes > MANIFEST_MAX_BYTES:
        raise VerificationError(f"a page of the release has {blob.size_bytes:,} bytes; that is not one of ours")
    return catalog.blob(blob)


def _tests(catalog: Catalog, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Test name -> its numbers, from the acceptance report."""
    try:
        tests = json.loads(bytes(_small(catalog, manifest.acceptance)))["tests"]
        return {str(name): dict(row) for name, row in tests.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VerificationError(f"the acceptance report of {manifest.version} is not one of ours") from error


def _words(manifest: Manifest, lineage: Lineage, tests: dict[str, dict[str, Any]]) -> str:
    parents = [f"{p.name} {p.version}, {p.relation} ({p.model_digest[:15]}..)" for p in lineage.parents]
    blobs = (("patch", manifest.patch), ("keyframe", manifest.keyframe))
    stored = [f"{what} {blob.size_bytes:,} bytes" for what, blob in blobs if blob]
    made = datetime.fromtimestamp(min(manifest.created_at_ms // 1000, LAST_SECOND), UTC)
    count, people = len(manifest.updates), len({update.contributor for update in manifest.updates})
    lines = [
        *wrapped(f"{manifest.name} {manifest.version} ({manifest.bump}): {manifest.reason}", "  "),
        *field("made", f"{made:%Y-%m-%d %H:%M:%S} UTC {_how(manifest)}, {manifest.licence or 'no licence'}"),
        *field("parent", "; ".join(parents) or "none"),
        *(line for what, text in _changed(lineage) for line in field(what, text)),
        *(line for one in manifest.accepted for line in field("got worse", f"{one.test}, accepted: {one.reason}")),
        *field("model", manifest.model_digest),
        *field("size", f"{manifest.space.size:,} parameters"),
        *(field("tested by", f"suite {manifest.suite}") if manifest.suite else ()),
        *field("stored as", ", ".join(stored)),
        *field("beside it", ", ".join(side_files(manifest))),
        *(field("made from", f"{_count(count, 'update')} by {_count(people, 'contributor')}") if count else ()),
        *(f"    {u.digest[:15]}.. by {u.contributor[:16]}.. at weight {u.weight:g}" for u in manifest.updates),
    ]
    if tests:
        lines += ["", *test_table(tests)]
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _how(manifest: Manifest) -> str:
    if manifest.remerged is None:
        return f"in round {manifest.round}"
    repeated = manifest.remerged.repeated
    span = " to ".join(dict.fromkeys((repeated[0], repeated[-1]))) if repeated else "nothing"
    return f"by merging again what made {span} ({manifest.remerged.reason})"


def _changed(lineage: Lineage) -> list[tuple[str, str]]:
    """What is different from the parent, each with its label; nothing for a first release."""
    if not lineage.parents:
        return []
    change = lineage.change
    share = 100 * change.parameters_changed / max(1, change.parameters)
    where = f"in {change.tensors_changed:,} of {change.tensors:,} tensors"
    told = [
        ("changed", f"{change.parameters_changed:,} parameters ({share:.2f}%), {where}"),
        ("new tests", ", ".join(change.tests_added)),
        ("lost tests", ", ".join(change.tests_dropped)),
        ("merged by", ", then ".join(lineage.merged_by)),
        ("left out", ", ".join(f"{digest[:15]}.." for digest in lineage.left_out)),
    ]
    return [(what, text) for what, text in told if text]


def test_table(tests: dict[str, dict[str, Any]]) -> list[str]:
    """The numbers of acceptance tests, as ``ReleaseTagged.summary`` has them, as lines."""
    confidences = {f"{row['confidence']:.0%} " for row in tests.values() if row.get("confidence")}
    interval_at = confidences.pop() if len(confidences) == 1 else ""
    header = ("TEST", " MEAN", " PARENT", " EFFECT", f" {interval_at}INTERVAL", "UNIT", "VERDICT")
    rows = []
    for name, row in tests.items():
        known = row.get("low") is not None and row.get("high") is not None
        interval = f"{_number(row.get('low'))} to {_number(row.get('high'))}" if known else "-"
        verdict = {True: "passed", False: "failed"}.get(row.get("passed"), "-")  # type: ignore[arg-type]
        verdict = "accepted" if row.get("accepted") is not None else verdict
        numbers = [_number(row.get(key)) for key in ("mean", "base_mean", "effect")]
        rows.append((name, *numbers, interval, str(row.get("unit", "")), verdict))
    return table(header, rows)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"
