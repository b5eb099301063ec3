"""The gateway, called in this process: what it says, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.digest import canonical_json, digest_bytes
from barnraise.errors import BadRangeError, NotARunFolderError, UnknownFieldError
from barnraise.message import Signed
from barnraise.protocol import Lease, LeaseRequest, Receipt, RoundInfo, RunInfo, UpdateStatus, UploadStatus
from barnraise.releases.store import BlobStore
from barnraise.run_folder import RunFolder
from coordinator.gateway import GatewayState
from coordinator.gateway.blobs import byte_range
from coordinator.gateway.bodies import decode_json
from coordinator.ledger.events import (
    ReleaseTagged,
    RoundMoved,
    UpdateChecked,
    UpdateMerged,
    UpdateRejected,
    UpdateUnmerged,
)
from doorstep import ADA, BASE, BOB, HANGS_UP, START_MS, Doorstep, doorstep

DATA = bytes(range(256)) * 4


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Doorstep]:
    with doorstep(tmp_path / "run") as opened:
        yield opened


# -- what is said to anybody ---------------------------------------------------------------


def test_run_and_round_are_told(door: Doorstep) -> None:
    lease = door.leased()
    run = RunInfo.read(door.call("GET", "/v1/run").value)
    assert (run.name, run.newest, run.data) == ("toy", "0.1.0", door.state.config.data)
    assert run.coordinator_key == door.state.identity.public
    current = RoundInfo.read(door.call("GET", "/v1/round").value)
    assert run.round == current
    assert (current.number, current.phase, current.leased, current.received) == (1, "collecting", 1, 0)
    assert current.deadline_ms == lease["issued_at_ms"] + 60_000


def test_before_the_first_round_there_is_none(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run", open_round=False) as door:
        assert RunInfo.read(door.call("GET", "/v1/run").value).round is None
        answer = door.call("GET", "/v1/round")
        assert (answer.status, answer.code) == (404, "not-found")
        assert "no round is open yet" in door.ask().value["wait"]["reason"]
        assert door.call("GET", "/v1/releases/metadata/timestamp.json").status == 404


def test_events_are_paged(door: Doorstep) -> None:
    first = door.call("GET", "/v1/events?limit=2").value["events"]
    assert [(row["seq"], row["kind"]) for row in first] == [(1, "run-created"), (2, "release-tagged")]
    rest = door.call("GET", "/v1/events?after=2").value["events"]
    assert [row["kind"] for row in rest] == ["round-opened"]
    assert rest[0]["payload"]["base_version"] == "0.1.0"


def test_events_tell_no_exact_score_on_hidden_examples(door: Doorstep) -> None:
    assert door.sent(DATA).status == 200
    digest = digest_bytes(DATA)
    score = {"value": 0.123456789, "error": 0.01}
    compared = {"drawn": "b3:00", "unit": "bits/byte", "hidden": [[123456], [123450]], "public": [[7], [8]]}
    exact = {"windows": 32, "base": 4.73912345, "alone": 4.54612345, "change": -0.193, "margin": 0.3, "p": 0.00731}
    worth = "alone it changes hidden text by 0.1"
    door.record(
        UpdateChecked(digest, 1, [1.0], "fine", {**exact, "score": score, "compared": compared, "worth": worth})
    )
    answer = door.call("GET", "/v1/events")
    assert b"0.1234" not in answer.body
    checked = next(row for row in answer.value["events"] if row["kind"] == "update-checked")
    rounded = {"windows": 32, "base": 4.7, "alone": 4.5, "change": -0.2, "margin": 0.3, "p": 0.01}
    assert checked["payload"]["evidence"] == {**rounded, "worth": worth}
    assert b"123456" not in answer.body
    assert door.ledger.update(digest).evidence["score"] == score  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "after=1&after=2", "limit=501", "after=9007199254740993", "after=%C2%B2"]
)
def test_a_wrong_query_is_refused(door: Doorstep, query: str) -> None:
    answer = door.call("GET", f"/v1/events?{query}")
    assert (answer.status, answer.code) == (400, "unknown-field")


def test_health_and_metrics(door: Doorstep) -> None:
    assert door.call("GET", "/v1/health").value == {"status": "ok", "run": "toy", "seq": 3}
    door.sent(DATA)
    text = door.call("GET", "/metrics").body.decode()
    for line in (
        'barnraise_releases_total{bump="first"} 1.0',
        'barnraise_updates{state="received"} 1.0',
        f"barnraise_update_received_bytes_total {len(DATA)}.0",
        "barnraise_update_tokens_total 1000.0",
        'barnraise_round_phase{phase="collecting"} 1.0',
        "barnraise_leases_open 0.0",
        'barnraise_http_requests_total{method="PUT",route="/v1/updates/{digest}/bytes",status="200"} 1.0',
    ):
        assert line in text


def test_metrics_never_repeat_what_a_stranger_typed(door: Doorstep) -> None:
    for method, path in (("HOSTILE", "/v1/run"), ("HOSTILE", "/hostile"), ("GET", "/v1/updates/hostile")):
        door.call(method, path)
    text = door.call("GET", "/metrics").body.decode()
    assert "hostile" not in text.lower()
    assert 'barnraise_http_requests_total{method="other",route="/v1/run",status="405"} 1.0' in text


def test_metrics_show_the_newest_release(door: Doorstep) -> None:
    summary = {"loss-text": {"mean": 3.25, "unit": "bits/byte"}}
    door.record(ReleaseTagged("0.1.1", "0.1.0", BASE, BASE, 1, "patch", "ok", None, None, None, START_MS, summary))
    text = door.call("GET", "/metrics").body.decode()
    assert 'barnraise_test_mean{test="loss-text",unit="bits/byte"} 3.25' in text
    assert 'barnraise_release_info{bump="patch",version="0.1.1"} 1.0' in text
    assert "barnraise_release_created_timestamp_seconds 1.7e+09" in text


def test_unknown_paths_and_methods_have_the_same_envelope(door: Doorstep) -> None:
    for method, path, status in (("GET", "/v2/run", 404), ("GET", "/docs", 404), ("DELETE", "/v1/run", 405)):
        answer = door.call(method, path)
        assert (answer.status, answer.code) == (status, "not-found")
        assert path not in answer.value["error"]["reason"]


# -- leases ---------------------------------------------------------------------------------


def test_a_lease_is_signed_and_recorded_with_the_contributor(door: Doorstep) -> None:
    answer = door.ask(ADA, "Ada")
    signed = Signed.read(answer.value["lease"])
    assert signed.key == door.state.identity.public
    lease = signed.open(Lease)
    assert (lease.contributor, lease.round, lease.base_version, lease.shard) == (ADA.public, 1, "0.1.0", "text")
    assert lease.training == door.state.config.training
    assert [(row.contributor, row.name) for row in door.ledger.contributors()] == [(ADA.public, "Ada")]
    assert [row.lease_id for row in door.ledger.leases(1)] == [lease.lease_id]


def test_the_same_request_again_gives_the_same_bytes(door: Doorstep) -> None:
    first = door.ask(nonce="a" * 32)
    door.now_ms += 5000
    assert door.ask(nonce="a" * 32).body == first.body
    assert door.ask().body == first.body
    assert len(door.ledger.leases(1)) == 1


def test_contributors_get_different_shards_and_keep_them(door: Doorstep) -> None:
    assert (door.leased(ADA)["shard"], door.leased(BOB)["shard"]) == ("text", "tools")
    door.now_ms += 21_000
    assert (door.leased(BOB)["shard"], door.leased(ADA)["shard"]) == ("tools", "text")


def test_after_its_update_a_contributor_waits(door: Doorstep) -> None:
    door.sent(DATA)
    assert "your update for round 1 is in" in door.ask().value["wait"]["reason"]


def test_a_new_name_is_remembered(door: Doorstep) -> None:
    door.leased(ADA, "Ada")
    door.now_ms += 21_000
    door.leased(ADA, "Countess")
    assert [row.name for row in door.ledger.contributors()] == ["Countess"]


def test_no_lease_while_merging(door: Doorstep) -> None:
    door.record(RoundMoved(1, "merging", "enough", {}))
    assert "round 1 is merging" in door.ask().value["wait"]["reason"]


# -- what strangers get wrong -----------------------------------------------------------------


def lease_request(**changes: Any) -> dict[str, Any]:
    fields = {"run": "toy", "name": "Ada", "nonce": "a" * 32, "at_ms": START_MS} | changes
    return {"body": fields, "key": ADA.public, "signature": ADA.sign("lease-request", canonical_json(fields))}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "unknown-field"),
        (b"{", 400, "unknown-field"),
        (b"[]", 400, "unknown-field"),
        (b"\xff\xfe{}", 400, "unknown-field"),
        ("{}".encode("utf-16"), 400, "unknown-field"),
        (b"[" * 60_000, 400, "unknown-field"),
        (b'{"body":{},"body":{}}', 400, "unknown-field"),
        (b'{"body":{"x":NaN}}', 400, "unknown-field"),
        (b'{"body":{"x":1e999}}', 400, "unknown-field"),
        (b'{"body":{"x":' + b"9" * 5000 + b"}}", 400, "unknown-field"),
        (b'{"body":{"x":' + b"[" * 700 + b"]" * 700 + b"}}", 400, "unknown-field"),
        (b'{"\\ud800\\u001b[2J":1}', 400, "unknown-field"),
        (b" " * 70_000, 413, "oversized-message"),
        (canonical_json({**lease_request(), "extra": 1}), 400, "unknown-field"),
        (canonical_json(lease_request(extra=1)), 400, "unknown-field"),
        (canonical_json({**lease_request(), "signature": "0" * 128}), 403, "bad-signature"),
        (canonical_json({**lease_request(), "key": BOB.public}), 403, "bad-signature"),
        (canonical_json(lease_request(name="../../etc")), 400, "bad-name"),
        (canonical_json(lease_request(name="a\u202eb")), 400, "bad-name"),
        (canonical_json(lease_request(name="\ud800")), 400, "bad-name"),
        (canonical_json(lease_request(name="x" * 65)), 400, "bad-name"),
        (canonical_json(lease_request(name="\x00")), 400, "bad-name"),
        (canonical_json(lease_request(name="\u3164")), 400, "bad-name"),
        (canonical_json(lease_request(at_ms=str(START_MS))), 400, "unknown-field"),
        (canonical_json(lease_request(nonce="short")), 400, "unknown-field"),
        (canonical_json(lease_request(at_ms=START_MS - 10**6)), 400, "clock-skew"),
        (canonical_json(lease_request(run="other")), 410, "lease"),
    ],
)
def test_bad_messages_are_refused_and_leave_no_trace(door: Doorstep, body: bytes, status: int, code: str) -> None:
    before = door.trace()
    answer = door.call("POST", "/v1/leases", body)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert re.fullmatch(r"[ -~]+", answer.value["error"]["reason"])
    assert door.trace() == before


def test_a_body_that_grows_past_the_cap_is_refused_while_it_comes(door: Doorstep) -> None:
    answer = door.call("POST", "/v1/leases", [b"x" * 1000] * 100)
    assert (answer.status, answer.code) == (413, "oversized-message")


def test_a_compressed_body_is_refused_unread(door: Doorstep) -> None:
    body = gzip.compress(canonical_json(lease_request()))
    answer = door.call("POST", "/v1/leases", body, {"content-encoding": "gzip"})
    assert (answer.status, answer.code) == (415, "unsupported-encoding")
    door.post("/v1/updates", door.envelope(door.leased(), DATA))
    answer = door.put(DATA, 0, DATA, **{"content-encoding": "zstd"})
    assert (answer.status, answer.code) == (415, "unsupported-encoding")


def test_a_signature_of_another_kind_does_not_count(door: Doorstep) -> None:
    envelope = door.envelope(door.leased(), DATA)
    answer = door.post("/v1/leases", envelope)
    assert (answer.status, answer.code) == (403, "bad-signature")


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused_as_ours(data: bytes) -> None:
    with suppress(UnknownFieldError):
        canonical_json({"value": decode_json(data)})


def test_a_damaged_ledger_is_our_own_error(door: Doorstep) -> None:
    door.ledger.close()
    (door.state.folder.root / "ledger.sqlite").write_bytes(b"damaged" * 1000)
    answer = door.call("GET", "/v1/round")
    assert (answer.status, answer.code) == (500, "storage")


# -- uploads -------------------------------------------------------------------------------------


def test_an_update_comes_in_with_a_signed_receipt(door: Doorstep) -> None:
    answer = door.sent(DATA)
    status = UploadStatus.read(answer.value)
    assert (status.offset, status.size_bytes) == (len(DATA), len(DATA))
    assert status.receipt is not None
    assert status.receipt.key == door.state.identity.public
    receipt = status.receipt.open(Receipt)
    assert (receipt.update_digest, receipt.contributor, receipt.round) == (digest_bytes(DATA), ADA.public, 1)
    assert BlobStore(door.state.folder.private).read(digest_bytes(DATA)) == DATA
    row = door.ledger.update(digest_bytes(DATA))
    assert row is not None
    assert (row.state, row.size_bytes, row.tokens, row.received_at_ms) == ("received", len(DATA), 1000, START_MS)
    assert Signed.read(row.envelope).key == ADA.public
    assert list(door.state.folder.staging.iterdir()) == []


def test_everything_can_be_repeated(door: Doorstep) -> None:
    envelope = door.envelope(door.leased(), DATA)
    assert door.post("/v1/updates", envelope).body == door.post("/v1/updates", envelope).body
    done = door.put(DATA, 0, DATA)
    events = door.ledger.last_seq()
    door.now_ms += 10**8
    for again in (door.put(DATA, 0, DATA), door.put(DATA, 7, b"x"), door.post("/v1/updates", envelope)):
        assert (again.status, again.body) == (200, done.body)
    assert door.ledger.last_seq() == events


def test_an_upload_goes_on_where_it_stopped(door: Doorstep) -> None:
    envelope = door.envelope(door.leased(), DATA)
    door.post("/v1/updates", envelope)
    assert door.put(DATA, 0, [DATA[:100], b"", DATA[100:300]]).value["offset"] == 300
    door.restart()
    wrong = door.put(DATA, 0, DATA)
    assert (wrong.status, wrong.code) == (409, "offset-mismatch")
    assert "offset=300" in wrong.value["error"]["reason"]
    assert door.post("/v1/updates", envelope).value["offset"] == 300
    assert door.put(DATA, 300, DATA[300:]).value["receipt"] is not None


@settings(deadline=None, max_examples=15)
@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=6), restarts=st.integers(0, 63))
def test_however_it_is_cut_the_same_update_arrives(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], restarts: int
) -> None:
    with doorstep(tmp_path_factory.mktemp("cut") / "run") as door:
        door.post("/v1/updates", door.envelope(door.leased(), DATA))
        edges = [0, *sorted(cuts), len(DATA)]
        for i, (start, stop) in enumerate(pairwise(edges)):
            answer = door.put(DATA, start, DATA[start:stop])
            assert answer.status == 200
            if restarts >> i & 1:
                door.restart()
        assert BlobStore(door.state.folder.private).read(digest_bytes(DATA)) == DATA
        assert len(door.ledger.updates()) == 1


def test_too_many_bytes_are_refused_and_the_rest_stays(door: Doorstep) -> None:
    door.post("/v1/updates", door.envelope(door.leased(), DATA))
    assert door.put(DATA, 0, DATA[:500]).status == 200
    for body in (DATA, [DATA, DATA]):
        answer = door.put(DATA, 500, body)
        assert (answer.status, answer.code) == (413, "oversized-update")
    assert door.put(DATA, 500, DATA[500:]).value["receipt"] is not None


def test_other_bytes_than_announced_are_dropped(door: Doorstep) -> None:
    envelope = door.envelope(door.leased(), DATA)
    door.post("/v1/updates", envelope)
    answer = door.put(DATA, 0, b"\0" * len(DATA))
    assert (answer.status, answer.code) == (422, "verification")
    assert list(door.state.folder.staging.iterdir()) == []
    assert door.ledger.updates() == []
    assert door.put(DATA, 0, DATA).code == "blob-missing"
    assert door.post("/v1/updates", envelope).value["offset"] == 0
    assert door.put(DATA, 0, DATA).value["receipt"] is not None


@pytest.mark.parametrize("field", ["size_bytes", "round", "at_ms", "tokens", "loss_first"])
@pytest.mark.parametrize("write", [str, lambda number: f"{number}.0", lambda number: [number], bool])
def test_a_number_that_is_written_as_something_else_is_refused(
    door: Doorstep, field: str, write: Callable[[Any], Any]
) -> None:
    body = dict(door.envelope(door.leased(), DATA).body)
    body[field] = write(body[field])
    before = door.trace()
    signed = Signed(body=body, key=ADA.public, signature=ADA.sign("update", canonical_json(body)))
    answer = door.post("/v1/updates", signed)
    assert (answer.status, answer.code) == (400, "unknown-field")
    assert field in answer.value["error"]["reason"]
    assert door.trace() == before


def test_a_staged_envelope_that_cannot_be_read_stops_nobody(door: Doorstep) -> None:
    envelope = door.envelope(door.leased(), DATA)
    door.post("/v1/updates", envelope)
    staged = door.state.folder.staging / f"{digest_bytes(DATA)[3:]}.json"
    for damaged in (b"", b"[", b"[]", canonical_json({**envelope.model_dump(), "body": {"size_bytes": "10.0"}})):
        staged.write_bytes(damaged)
        door.restart()
        assert door.post("/v1/updates", door.envelope(door.leased(BOB), DATA[:9], BOB)).status == 200
        assert door.put(DATA, 0, DATA).code == "blob-missing"
    assert door.post("/v1/updates", envelope).value["offset"] == 0
    assert door.put(DATA, 0, DATA).value["receipt"] is not None


def test_a_body_that_breaks_off_keeps_what_came(door: Doorstep) -> None:
    door.post("/v1/updates", door.envelope(door.leased(), DATA))
    assert door.call("PUT", f"/v1/updates/{digest_bytes(DATA)}/bytes?offset=0", [DATA[:300], HANGS_UP]).status == 400
    assert "offset=300" in door.put(DATA, 0, DATA).value["error"]["reason"]
    assert door.put(DATA, 300, DATA[300:]).value["receipt"] is not None


def test_bytes_that_nobody_announced_are_refused(door: Doorstep) -> None:
    before = door.trace()
    for path, status in ((f"/v1/updates/{BASE}/bytes?offset=0", 404), ("/v1/updates/..%2f..%2fx/bytes?offset=0", 404)):
        assert door.call("PUT", path, DATA).status == status
    assert door.call("PUT", f"/v1/updates/{BASE}/bytes", DATA).code == "unknown-field"
    assert door.trace() == before


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"lease_id": "9" * 32}, 410, "lease"),
        ({"round": 7}, 410, "lease"),
        ({"base_digest": "b3:" + "1" * 64}, 409, "wrong-base"),
        ({"size_bytes": 1 << 40}, 413, "oversized-update"),
        ({"at_ms": START_MS + 10**6}, 400, "clock-skew"),
        ({"run": "other"}, 410, "lease"),
    ],
)
def test_envelopes_that_are_not_admitted_leave_no_trace(
    door: Doorstep, changes: dict[str, Any], status: int, code: str
) -> None:
    lease = door.leased()
    before = door.trace()
    answer = door.post("/v1/updates", door.envelope(lease, DATA, **changes))
    assert (answer.status, answer.code) == (status, code)
    assert door.trace() == before


def test_a_stolen_lease_and_a_stolen_update_are_refused(door: Doorstep) -> None:
    lease = door.leased(ADA)
    assert door.post("/v1/updates", door.envelope(lease, DATA, BOB)).code == "lease"
    door.post("/v1/updates", door.envelope(lease, DATA, ADA))
    theirs = door.leased(BOB)
    assert door.post("/v1/updates", door.envelope(theirs, DATA, BOB)).code == "replayed-message"
    door.put(DATA, 0, DATA)
    assert door.post("/v1/updates", door.envelope(theirs, DATA, BOB)).code == "replayed-message"


def test_one_lease_brings_one_update(door: Doorstep) -> None:
    lease = door.leased()
    first, second = DATA, DATA[::-1]
    for data in (first, second):
        assert door.post("/v1/updates", door.envelope(lease, data)).status == 200
    assert door.put(first, 0, first).status == 200
    answer = door.put(second, 0, second)
    assert (answer.status, answer.code) == (409, "replayed-message")
    assert [row.digest for row in door.ledger.updates()] == [digest_bytes(first)]
    assert list(door.state.folder.staging.iterdir()) == []


def test_a_nonce_is_used_once(door: Doorstep) -> None:
    door.ask(nonce="e" * 32)
    answer = door.post("/v1/updates", door.envelope(door.leased(), DATA, nonce="e" * 32))
    assert answer.code == "replayed-message"


def test_unfinished_updates_are_limited_and_expire(tmp_path: Path) -> None:
    with doorstep(tmp_path / "run", max_pending_updates_per_contributor=2) as door:
        lease = door.leased()
        answers = [door.post("/v1/updates", door.envelope(lease, bytes([i]) * 9)) for i in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        door.now_ms += 21_000
        assert door.post("/v1/updates", door.envelope(door.leased(), DATA)).status == 200
        assert len(list(door.state.folder.staging.glob("*.json"))) == 1


def test_an_expired_lease_still_finishes_what_was_admitted(door: Doorstep) -> None:
    door.post("/v1/updates", door.envelope(door.leased(), DATA))
    door.now_ms += 21_000
    assert door.put(DATA, 0, DATA).value["receipt"] is not None


@pytest.mark.parametrize("crashed_after", ["announced", "all-bytes", "verified", "adopted", "recorded"])
def test_a_crash_between_any_two_steps_loses_and_doubles_nothing(door: Doorstep, crashed_after: str) -> None:
    """Rebuild by hand what each step leaves on the disk, start another gateway, and send again."""
    envelope = door.envelope(door.leased(), DATA)
    door.post("/v1/updates", envelope)
    staging, hexadecimal = door.state.folder.staging, digest_bytes(DATA)[3:]
    saved = (staging / f"{hexadecimal}.json").read_bytes()
    if crashed_after == "all-bytes":
        (staging / f"{hexadecimal}.part").write_bytes(DATA)
    if crashed_after == "verified":
        (staging / f"{hexadecimal}.part").unlink()
        (staging / f"{hexadecimal}.full").write_bytes(DATA)
    if crashed_after == "adopted":
        (staging / f"{hexadecimal}.part").unlink()
        BlobStore(door.state.folder.private).put(DATA)
    if crashed_after == "recorded":
        door.put(DATA, 0, DATA)
        (staging / f"{hexadecimal}.json").write_bytes(saved)
    door.restart()
    status = door.post("/v1/updates", envelope).value
    if status["receipt"] is None:
        status = door.put(DATA, status["offset"], DATA[status["offset"] :]).value
    assert status["receipt"] is not None
    assert [row.digest for row in door.ledger.updates()] == [digest_bytes(DATA)]
    assert BlobStore(door.state.folder.private).read(digest_bytes(DATA)) == DATA
    assert list(staging.iterdir()) == []


def test_a_restart_takes_in_what_was_complete(door: Doorstep) -> None:
    door.post("/v1/updates", door.envelope(door.leased(), DATA))
    (door.state.folder.staging / f"{digest_bytes(DATA)[3:]}.part").write_bytes(DATA)
    door.now_ms += 10**8
    door.restart()
    assert [row.digest for row in door.ledger.updates()] == [digest_bytes(DATA)]


def test_a_full_disk_refuses_and_keeps_what_is_there(door: Doorstep) -> None:
    door.post("/v1/updates", door.envelope(door.leased(), DATA))
    part = door.state.folder.staging / f"{digest_bytes(DATA)[3:]}.part"
    part.unlink()
    part.symlink_to("/dev/full")  # the device that is always full
    answer = door.put(DATA, 0, DATA[:10])
    assert (answer.status, answer.code) == (507, "disk-full")
    part.unlink()
    part.write_bytes(b"")
    assert door.ledger.updates() == []
    assert door.put(DATA, 0, DATA).value["receipt"] is not None


# -- what became of it ------------------------------------------------------------------------------


def test_the_fate_of_an_update_is_told(door: Doorstep) -> None:
    digest = digest_bytes(DATA)
    path = f"/v1/updates/{digest}"
    assert door.call("GET", path).status == 404
    door.sent(DATA)
    assert UpdateStatus.read(door.call("GET", path).value).state == "received"
    door.record(UpdateChecked(digest, 1, [1.0], "fine", {"worsening": 0.1}))
    checked = UpdateStatus.read(door.call("GET", path).value)
    assert (checked.state, checked.reason, checked.evidence, checked.fold_back) == (
        "checked",
        "fine",
        {"worsening": 0.1},
        False,
    )
    door.record(UpdateMerged(digest, 1, "0.1.1", 1.0))
    merged = UpdateStatus.read(door.call("GET", path).value)
    assert (merged.state, merged.version) == ("merged", "0.1.1")


def test_only_unmerged_updates_are_folded_back(door: Doorstep) -> None:
    door.sent(DATA, ADA)
    door.sent(DATA[::-1], BOB)
    door.record(UpdateUnmerged(digest_bytes(DATA), 1, "too late"))
    door.record(UpdateRejected(digest_bytes(DATA[::-1]), 1, "check", "poison", {}))
    statuses = [door.call("GET", f"/v1/updates/{digest_bytes(data)}").value for data in (DATA, DATA[::-1])]
    assert [status["fold_back"] for status in statuses] == [True, False]
    current = RoundInfo.read(door.call("GET", "/v1/round").value)
    assert (current.received, current.checked, current.rejected) == (2, 0, 1)
    config = door.state.config
    update = config.update.model_copy(update={"fold_back_unmerged": False})
    door.state = replace(door.state, config=config.model_copy(update={"update": update}))
    door.restart()
    assert door.call("GET", f"/v1/updates/{digest_bytes(DATA)}").value["fold_back"] is False


# -- releases ---------------------------------------------------------------------------------------


@pytest.fixture
def blob(door: Doorstep) -> str:
    return BlobStore(door.state.folder.public).put(DATA)


def blob_url(digest: str) -> str:
    return f"/v1/releases/blobs/{digest[3:5]}/{digest[5:]}"


def test_a_blob_is_served_whole_and_in_parts(door: Doorstep, blob: str) -> None:
    whole = door.call("GET", blob_url(blob))
    assert (whole.status, whole.body) == (200, DATA)
    assert whole.headers["etag"] == f'"{blob}"'
    assert whole.headers["content-length"] == str(len(DATA))
    part = door.call("GET", blob_url(blob), headers={"range": "bytes=10-19", "if-range": '"anything"'})
    assert (part.status, part.body) == (206, DATA[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(DATA)}"
    rest = door.call("GET", blob_url(blob), headers={"range": "bytes=1000-"})
    assert (rest.status, rest.body) == (206, DATA[1000:])


def test_head_says_the_same_without_bytes(door: Doorstep, blob: str) -> None:
    head = door.call("HEAD", blob_url(blob))
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(DATA)))


def test_a_range_outside_is_refused_with_the_size(door: Doorstep, blob: str) -> None:
    answer = door.call("GET", blob_url(blob), headers={"range": f"bytes={len(DATA)}-"})
    assert (answer.status, answer.code) == (416, "bad-range")
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


def test_who_has_it_already_is_told_so(door: Doorstep, blob: str) -> None:
    answer = door.call("GET", blob_url(blob), headers={"if-none-match": f'"x", "{blob}"'})
    assert (answer.status, answer.body) == (304, b"")


def test_private_blobs_and_other_files_are_never_served(door: Doorstep) -> None:
    private = BlobStore(door.state.folder.private).put(b"held out")
    for path in (
        blob_url(private),
        "/v1/releases/blobs/ab/short",
        f"/v1/releases/blobs/abc/{'0' * 61}",
        f"/v1/releases/blobs/../{private[5:]}",
        "/v1/releases/blobs/../../keys/coordinator.key",
        "/v1/releases/blobs/%2e%2e/run.toml",
    ):
        assert door.call("GET", path).status == 404, path


@pytest.mark.parametrize("name", ["metadata/timestamp.json", "metadata/7.snapshot.json", "targets/ab.index.json"])
def test_release_metadata_is_served_as_it_is_on_disk(door: Doorstep, name: str) -> None:
    path = door.state.folder.public / name
    path.parent.mkdir()
    path.write_bytes(b'{"signed":1}')
    answer = door.call("GET", f"/v1/releases/{name}")
    assert (answer.status, json.loads(answer.body)) == (200, {"signed": 1})
    assert ("no-cache" in answer.headers["cache-control"]) == (path.name == "timestamp.json")
    again = door.call("GET", f"/v1/releases/{name}", headers={"if-none-match": answer.headers["etag"]})
    assert again.status == 304


@pytest.mark.parametrize("name", ["..", "../run.toml", "..%2frun.toml", ".hidden.json", "a.txt", "%2e%2e/x.json"])
def test_nothing_else_is_served_as_metadata(door: Doorstep, name: str) -> None:
    (door.state.folder.public / "metadata").mkdir()
    (door.state.folder.public / "metadata" / ".hidden.json").write_bytes(b"{}")
    (door.state.folder.public / "metadata" / "a.txt").write_bytes(b"{}")
    assert door.call("GET", f"/v1/releases/metadata/{name}").status == 404


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 10)),
        ("bytes=5-", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=\u0663-", None),
        ("bytes=0-" + "9" * 40, None),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=11-12", "bytes=-0"])
def test_ranges_outside(header: str) -> None:
    with pytest.raises(BadRangeError):
        byte_range(header, 10)


def test_a_folder_without_a_run_has_no_gateway(tmp_path: Path) -> None:
    with pytest.raises(NotARunFolderError):
        GatewayState.open(RunFolder(tmp_path))


def test_the_lease_request_is_checked_for_its_run_before_anything_is_recorded(door: Doorstep) -> None:
    signed = Signed.make(LeaseRequest(run="x", name="Ada", nonce="a" * 32, at_ms=START_MS), ADA)
    assert door.post("/v1/leases", signed).status == 410
    assert door.ledger.contributors() == []
