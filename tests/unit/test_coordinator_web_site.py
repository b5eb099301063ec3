"""What all pages have in common: what goes out with them, how they refuse, what a browser may keep."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from barnraise.digest import digest_bytes
from barnraise.errors import StorageError
from coordinator.web.assets import FOLDER, assets
from coordinator.web.words import ago, duration, sentence, signed, size
from doorstep import Doorstep, doorstep
from web_pages import Pages, read_html

PAGE = {"accept": "text/html"}
UNNAMED = ("COORDINATOR", "test")  # nothing of the request; the server's own name


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Doorstep]:
    with doorstep(tmp_path / "run") as opened:
        yield opened


# -- what goes out with a page ----------------------------------------------------------------


def test_no_script_and_no_style_is_allowed_but_our_files(door: Doorstep) -> None:
    answer = door.call("GET", "/", headers=PAGE)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    page = read_html(answer.body.decode())
    assert all(script.attributes["src"].startswith("/static/") for script in page.all("script"))
    assert not page.all("style")
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on") or name == "style"], element


def test_a_browser_keeps_a_page_until_it_changes(door: Doorstep) -> None:
    first = door.call("GET", "/", headers=PAGE)
    again = door.call("GET", "/", headers={**PAGE, "if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    door.leased()
    assert door.call("GET", "/", headers={**PAGE, "if-none-match": first.headers["etag"]}).status == 200


def test_pages_are_compressed_but_never_those_of_a_session(door: Doorstep) -> None:
    plain = door.call("GET", "/", headers=PAGE)
    packed = door.call("GET", "/", headers={**PAGE, "accept-encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    for headers in ({"accept-encoding": "gzip", "cookie": "session=1"}, {"accept-encoding": "gzip;q=0"}):
        assert "content-encoding" not in door.call("GET", "/", headers={**PAGE, **headers}).headers
    assert "content-encoding" in door.call("GET", "/", headers={**PAGE, "accept-encoding": "gzip;q=0.5"}).headers


def test_files_beside_pages_have_their_digest_in_their_name_and_are_kept_for_ever(door: Doorstep) -> None:
    for name, asset in assets().items():
        answer = door.call("GET", f"/static/{name}")
        assert answer.body == asset.data
        assert "immutable" in answer.headers["cache-control"]
        assert digest_bytes(asset.data)[3:15] in name
        assert (
            gzip.decompress(door.call("GET", f"/static/{name}", headers={"accept-encoding": "gzip"}).body) == asset.data
        )
    for name in ("web.css", "..%2f..%2fsite.py", "VENDOR.md", "uPlot-LICENSE.txt"):
        assert door.call("GET", f"/static/{name}").status == 404, name


def test_what_was_not_written_here_is_what_its_list_says() -> None:
    rows = re.findall(r"^\| `(.+?)` .*`(b3:[0-9a-f]{64})` \|$", (FOLDER / "VENDOR.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == {"uPlot.js", "uPlot.css"}
    for name, digest in rows:
        assert digest_bytes((FOLDER / name).read_bytes()) == digest, name


def test_the_menu_has_what_there_is(door: Doorstep) -> None:
    page = read_html(door.call("GET", "/", headers=PAGE).body.decode())
    links = [one.attributes["href"] for one in page.all("a") if one.attributes["href"] in {"/", "/releases", "/health"}]
    for link in links:
        assert door.call("GET", link, headers=PAGE).status == 200, link


# -- refusals -----------------------------------------------------------------------------------


def test_a_person_gets_a_page_and_a_program_gets_json(door: Doorstep) -> None:
    for path in ("/nothing", "/static/none.css"):
        answer = door.call("GET", path, headers=PAGE)
        assert answer.status == 404
        assert read_html(answer.body.decode()).one("h1").text == "There is nothing here"
        assert answer.headers["content-security-policy"]
        assert door.call("GET", path).code == "not-found"
    assert door.call("GET", "/v1/nothing", headers=PAGE).code == "not-found"
    assert door.call("GET", "/v1/round/9", headers=PAGE).headers["content-type"] == "application/json"


def test_nothing_of_the_address_is_in_a_refusal_unescaped(door: Doorstep) -> None:
    answer = door.call("GET", "/<script>x</script>", headers=PAGE)
    assert b"<script>x" not in answer.body


def test_a_ledger_that_is_away_is_a_page_that_says_when_to_come_back(
    door: Doorstep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise StorageError("the ledger cannot be used: database is locked")

    monkeypatch.setattr(door.ledger, "newest_release", away)
    answer = door.call("GET", "/", headers=PAGE)
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")
    assert answer.headers["cache-control"] == "no-store"
    assert "database is locked" in read_html(answer.body.decode()).one("main").text
    assert door.call("GET", "/v1/run").code == "storage"


def test_a_ledger_that_a_newer_version_has_migrated_is_said_to_be_one(door: Doorstep) -> None:
    with sqlite3.connect(door.state.folder.ledger) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        assert door.call("GET", "/", headers=PAGE).status == 200  # nothing that it needs is another
        database.execute("ALTER TABLE releases RENAME COLUMN model_digest TO model")
    answer = door.call("GET", "/", headers=PAGE)
    assert (answer.status, answer.headers["retry-after"]) == (503, "60")
    page = read_html(answer.body.decode())
    assert page.one("h1").text == "The ledger has moved on"
    assert "schema 9999" in page.one("main").text
    database.close()


# -- the address in the lines to copy --------------------------------------------------------------


def test_the_address_is_the_visitors_own_or_what_the_operator_says(tmp_path: Path) -> None:
    with doorstep(tmp_path / "one") as door:
        page = read_html(door.call("GET", "/", headers={**PAGE, "host": "run.example:8000"}).body.decode())
        assert page.one("code", id="join-line").text == "barnraise join http://run.example:8000"
        for host in ("x'; rm -rf /", "<b>", "a b", "$(reboot)"):
            page = read_html(door.call("GET", "/", headers={**PAGE, "host": host}).body.decode())
            assert page.one("code", id="join-line").text in {f"barnraise join http://{name}" for name in UNNAMED}
    with doorstep(tmp_path / "two", public_url="https://models.example/") as door:
        page = read_html(door.call("GET", "/", headers={**PAGE, "host": "10.0.0.1"}).body.decode())
        assert page.one("code", id="join-line").text == "barnraise join https://models.example"


# -- words -------------------------------------------------------------------------------------------


def test_numbers_and_times_in_words() -> None:
    assert [size(value) for value in (0, 999, 1000, 43_210, 999_600, 8_689_457, None)] == [
        "0 bytes", "999 bytes", "1 kB", "43.2 kB", "1 MB", "8.69 MB", "\N{EN DASH}",
    ]  # fmt: skip
    assert [duration(value) for value in (0, 61_000, 3_600_000, 90_061_000)] == ["0 s", "1 min 1 s", "1 h", "1 d 1 h"]
    assert [ago(at, 100_000) for at in (98_000, 40_000, 0, 220_000)] == [
        "just now", "1 minute ago", "1 minute ago", "in 2 minutes",
    ]  # fmt: skip
    assert (signed(-0.25), signed(1.0), signed(None)) == ("\N{MINUS SIGN}0.250", "+1.000", "\N{EN DASH}")
    assert [sentence(text) for text in ("it is so", "Why?", "")] == ["It is so.", "Why?", ""]


def test_curve_data_is_json_for_everybody(door: Doorstep) -> None:
    answer = door.call("GET", "/data/curves.json")
    assert json.loads(answer.body)["labels"] == ["0.1.0"]
    assert Pages(door.state).get("/data/curves.json").status == 200
