"""A run whose updates and patches say one of four elements, others each round: from serve to a consumer."""

from __future__ import annotations

from pathlib import Path

from barnraise.releases.store import BlobStore
from processes import TINY, Site

NAMES, UNITS, TURNS = ("ada", "barbara", "grace"), 3, 4
EIGHT_BITS = 'codec = { name = "blockwise", bits = 8 }'
SIGNS, FOUR_BITS = (f'codec = {{ name = "blockwise", bits = {bits} }}, turns = {TURNS}' for bits in (1, 4))


def test_signs_in_turn_are_released_pulled_and_computed_again(tmp_path: Path) -> None:
    text = TINY.replace(f"update = {{ {EIGHT_BITS} }}", f"update = {{ {SIGNS} }}")
    text = text.replace(f"release = {{ {EIGHT_BITS} }}", f"release = {{ {FOUR_BITS} }}")
    assert text.count("turns = 4") == 2
    with Site(tmp_path) as site:
        site.serves(site.write_config(text))
        volunteers = [site.joins(name, "--units", str(UNITS)) for name in NAMES]
        assert [volunteer.ends() for volunteer in volunteers] == [0, 0, 0], [one.log.read_text() for one in volunteers]
        newest = f"0.1.{UNITS}"
        pulled = site.runs("pull", "tiny@0.1.1", "--into", "model", "--from", site.url, "--json").result
        assert pulled["version"] == "0.1.1"
        again = site.runs("pull", "tiny@^0.1", "--into", "model", "--from", site.url, "--json").result
        assert again["version"] == newest
        verified = site.runs("verify", "model", "--from", site.url, "--json").result
        assert (verified["version"], verified["patch"]["parent"]) == (newest, f"0.1.{UNITS - 1}")
        done = site.runs("recompute", newest, "--from", site.url, "--json").result["releases"]
        assert [row["updates"] for row in done] == [3] * UNITS
        shown = site.runs("round", "show", "2", "--from", site.url, "--json").result["merge"]
        assert shown["turns"] == {"updates": TURNS, "patch": TURNS}
        change = site.runs("show", newest, "--from", site.url, "--json").result["lineage"]["change"]
        assert 0 < change["parameters_changed"] <= change["parameters"] / TURNS + 64
        with site.opens_ledger() as ledger:
            sent = ledger.updates(round=UNITS)[0]
        update = tmp_path / "sent.update"
        update.write_bytes(BlobStore(site.folder.private).read(sent.digest))
        tested = site.runs("test", str(site.folder.root), str(update), "--json").result
        assert tested["base"]["name"].endswith(f" 0.1.{UNITS - 1}")
