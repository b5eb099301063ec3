"""Pictures from serve to a consumer: the ready-made run of digits, until nine of ten held-out ones are told apart."""

from __future__ import annotations

from pathlib import Path

from barnraise.config import bundled_config
from processes import Site

UNITS = 4


def test_volunteers_teach_it_the_digits(tmp_path: Path) -> None:
    text = bundled_config("digits").read_text()
    quick = text.replace("target_updates = 4", "target_updates = 3") + "\n[conductor]\npoll_every_s = 0.05\n"
    with Site(tmp_path) as site:
        site.serves(site.write_config(quick))
        volunteers = [site.joins(name, "--units", str(UNITS)) for name in ("ada", "barbara", "grace")]
        assert [volunteer.ends() for volunteer in volunteers] == [0, 0, 0], [one.log.read_text() for one in volunteers]
        pulled = site.runs("pull", "digits@^0.1", "--into", "model", "--from", site.url, "--json").result
        assert pulled["version"] == f"0.1.{UNITS}"
        assert site.runs("verify", "model", "--json").result["version"] == pulled["version"]
        shown = site.runs("show", pulled["version"], "--from", site.url, "--json").result["tests"]
        right = [row["mean"] for name, row in shown.items() if name.startswith("right-")]
        assert len(right) == 4
        assert sum(right) / 4 > 0.9, shown
