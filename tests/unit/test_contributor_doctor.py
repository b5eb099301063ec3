"""The doctor blames the right thing: real causes of "cannot join", as facts, and the one that is named for each."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import LeaseError, RefusedError, UnreachableError, UsageError
from barnraise.key_messages import KeyHistory
from barnraise.model_config import ByteLMConfig, CausalLMConfig
from barnraise.protocol import RunInfo
from barnraise.update_config import CodecConfig
from contributor.doctor import machine
from contributor.doctor.at_start import diagnosing
from contributor.doctor.examine import REFUSALS, Diagnosis, judge_error, judge_refusal
from contributor.doctor.finding import Finding, main_cause
from contributor.doctor.machine import Card, FolderFacts, MachineFacts, judge_machine
from contributor.doctor.need import activations_bytes, shape_of, unit_seconds, update_bytes, what_it_needs
from contributor.doctor.network import AnswerFacts, ConnectFacts, NetworkFacts, judge_network, run_said
from contributor.doctor.terms import LocalFacts, TermsFacts, judge_terms
from contributor.doctor.tls import TlsFacts
from contributor.events import Joined, NodeEvent, Notice, Waiting

GIB, NOW_MS, DAY_MS = 1 << 30, 1_800_000_000_000, 86_400_000
URL, ME, OTHER = "https://run.test", "ab" * 32, "cd" * 32
PAGE = b"<!DOCTYPE html><html><title>Welcome</title></html>"

RUN: dict[str, Any] = {
    "protocol": 1,
    "name": "toy",
    "description": "",
    "licence": "Apache-2.0",
    "coordinator_key": "ef" * 32,
    "root_digest": "b3:" + "0" * 64,
    "model": {"architecture": "byte-lm", "dim": 256, "layers": 4, "heads": 4, "hidden": 640, "context": 256},
    "data": {"corpus": "python-stdlib", "shards": {"text": ["json"]}},
    "newest": "0.1.0",
    "round": None,
    "terms": {
        "training": {"steps": 20, "batch": 8},
        "codec": {"name": "topk", "k": 64},
        "lease_for_s": 600.0,
        "max_clock_skew_s": 300.0,
        "max_update_bytes": 1 << 28,
        "max_rounds": 30,
    },
}

SOUND = MachineFacts(
    python=(3, 12, 1),
    barnraise="0.1.0",
    platform="Linux x86_64",
    torch_version="2.13.0",
    torch_cuda=(12, 8),
    gpus=("RTX 3060",),
    cards=(Card("RTX 3060", 12 * GIB, 11 * GIB, "570.86.15", (12, 8)),),
    cores=8,
    memory_bytes=32 * GIB,
    free_bytes=24 * GIB,
    folders={"state": FolderFacts(Path("/home/ada/.local/state/barnraise"), 100 * GIB)},
)
REACHED = NetworkFacts(
    url=URL,
    addresses=("203.0.113.7",),
    connects=(ConnectFacts("203.0.113.7", ""),),
    tls=TlsFacts("", names=("run.test",), not_before_ms=NOW_MS - DAY_MS, not_after_ms=NOW_MS + 60 * DAY_MS),
    run=AnswerFacts("/v1/run", "", status=200, content_type="application/json", body=json.dumps(RUN).encode()),
    now_ms=NOW_MS,
)
FITS = TermsFacts(
    said=RUN,
    info=RunInfo.read(RUN),
    offset_s=0.4,
    local=LocalFacts(ME),
    parameters=3_082_496,
    operations_per_s=2e10,
    upload_bytes_per_s=1e6,
)


def history(**changes: Any) -> KeyHistory:
    first = {"key": ME, "how": "first", "since_ms": 1}
    return KeyHistory.read({"run": "toy", "contributor": ME, "keys": [first], **changes})


def answered(status: int, body: bytes = b"", **changes: Any) -> AnswerFacts:
    fields = {"status": status, "body": body, "content_type": "text/html", **changes}
    return AnswerFacts("/v1/run", "", **fields)


def on_machine(**changes: Any) -> list[Finding]:
    return [*judge_machine(replace(SOUND, **changes)), *judge_network(REACHED), *judge_terms(FITS, SOUND)]


def on_the_way(**changes: Any) -> list[Finding]:
    """Whoever finds no coordinator has no run to look at either."""
    network = replace(REACHED, **changes)
    rest = judge_terms(FITS, SOUND) if run_said(network) is not None else []
    return [*judge_machine(SOUND), *judge_network(network), *rest]


def in_the_run(machine: MachineFacts = SOUND, **changes: Any) -> list[Finding]:
    return [*judge_machine(machine), *judge_network(REACHED), *judge_terms(replace(FITS, **changes), machine)]


def state(free_bytes: int, number: int = 0) -> dict[str, FolderFacts]:
    return {"state": FolderFacts(Path("/home/ada/state"), free_bytes, number)}


def gone(*addresses: str, trouble: Any, said: str = "") -> tuple[ConnectFacts, ...]:
    return tuple(ConnectFacts(address, trouble, said) for address in addresses)


def card(driver: str, serves: tuple[int, int]) -> tuple[Card, ...]:
    return (Card("RTX 3060", 12 * GIB, 11 * GIB, driver, serves),)


def one_useless(said: str) -> MachineFacts:
    """With a second card, shown first, on which CUDA computes nothing and says so."""
    cards = (Card("GT 710", GIB, 30 << 20, "570.86.15", (12, 8)), *SOUND.cards)
    return replace(SOUND, cards=cards, useless=(f"GPU 0, GT 710, cannot be used: CUDA error: {said}",))


GLIBC = "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.28' not found (required by libtorch_cpu.so)"
PROXY = "http://proxy.corp:3128"
NO_TUNNEL = "the proxy does not let it through (Tunnel connection failed: 407 Proxy Authentication Required)"
OVER_QUOTA = replace(SOUND, folders=state(100 * GIB, errno.EDQUOT))
TALL = RunInfo.read({**RUN, "model": {**RUN["model"], "context": 65536}})

# What happened, and what must be blamed. A word that must be in the diagnosis: the number, the host or the cure.
CAUSES: list[tuple[str, list[Finding], str, str]] = [
    ("the port is refused", on_the_way(connects=gone("203.0.113.7", trouble="refused")), "port-refused", "port 443"),
    ("the name does not exist", on_the_way(addresses=(), name_error="unknown"), "name-unknown", "run.test"),
    ("no name server answers", on_the_way(addresses=(), name_error="resolver-silent"), "no-network", "online"),
    (
        "a firewall drops it",
        on_the_way(connects=gone("203.0.113.7", trouble="silent")),
        "firewall",
        "run.test port 443",
    ),
    ("no way there", on_the_way(connects=gone("10.0.0.7", trouble="no-route", said="No route")), "no-route", "VPN"),
    (
        "IPv6 only, and none here",
        on_the_way(connects=gone("2001:db8::7", trouble="no-route"), v6_works=False),
        "ipv6-only",
        "no IPv6",
    ),
    (
        "TLS for another name",
        on_the_way(tls=TlsFacts("name", names=("*.host.test",))),
        "certificate-name",
        "*.host.test",
    ),
    (
        "TLS expired",
        on_the_way(tls=TlsFacts("expired", not_after_ms=NOW_MS - DAY_MS)),
        "certificate-expired",
        "2027-01-14",
    ),
    (
        "TLS not valid yet: our clock",
        on_the_way(tls=TlsFacts("not-yet", not_before_ms=NOW_MS + DAY_MS)),
        "clock-off",
        "the clock is behind",
    ),
    ("TLS of nobody we trust", on_the_way(tls=TlsFacts("unknown-authority")), "certificate-authority", "SSL_CERT_FILE"),
    ("https to an http port", on_the_way(tls=TlsFacts("not-tls")), "not-https", "http://run.test"),
    (
        "http to an https port",
        on_the_way(
            url="http://run.test",
            tls=None,
            run=answered(400, b"<html>The plain HTTP request was sent to HTTPS port</html>"),
        ),
        "needs-https",
        "https://run.test",
    ),
    (
        "the proxy wants a password",
        on_the_way(proxy=PROXY, tls=None, run=AnswerFacts("/v1/run", "proxy", NO_TUNNEL)),
        "proxy-password",
        PROXY,
    ),
    (
        "the proxy wants a password, over http",
        on_the_way(url="http://run.test", proxy=PROXY, tls=None, run=answered(407, PAGE)),
        "proxy-password",
        "NO_PROXY=run.test",
    ),
    (
        "the proxy is gone",
        on_the_way(proxy=PROXY, connects=gone("10.1.1.1", trouble="refused", said="Connection refused")),
        "proxy-down",
        "HTTPS_PROXY",
    ),
    ("the proxy has no address", on_the_way(proxy=PROXY, name_error="unknown"), "proxy-unknown", PROXY),
    (
        "a portal answers everything",
        on_the_way(run=answered(200, PAGE), nonsense=answered(200, PAGE)),
        "captive-portal",
        "log in",
    ),
    (
        "a portal leads away",
        on_the_way(run=answered(302, b"", location="https://login.hotel.test/?to=run")),
        "captive-portal",
        "browser",
    ),
    (
        "the path is wrong, and the root right",
        on_the_way(
            url=f"{URL}/runs/toy",
            run=answered(404, PAGE),
            at_root=answered(200, json.dumps(RUN).encode(), content_type="application/json"),
        ),
        "wrong-path",
        f"there is one at {URL}",
    ),
    (
        "a site, not a coordinator",
        on_the_way(run=answered(200, PAGE), nonsense=answered(404, PAGE)),
        "wrong-path",
        f"{URL}/RUN",
    ),
    ("nothing behind the proxy in front", on_the_way(run=answered(502, PAGE)), "coordinator-down", "nothing on this"),
    (
        "connected, then silence",
        on_the_way(run=AnswerFacts("/v1/run", "broken", "no answer within 10 s")),
        "no-answer",
        "10 s",
    ),
    ("the clock is off by a day", in_the_run(offset_s=86_400.0), "clock-off", "24.0 h ahead"),
    ("the disk is full", on_machine(folders=state(40 << 20)), "disk-full", "40 MiB free"),
    ("the disk fills while writing", on_machine(folders=state(0, errno.ENOSPC)), "disk-full", "--home"),
    ("a quota is used up", in_the_run(OVER_QUOTA), "disk-full", "Disk quota exceeded in /home/ada/state (at least"),
    ("home is read-only", on_machine(folders=state(GIB, errno.EROFS)), "home-read-only", "XDG_STATE_HOME"),
    ("home is somebody else's", on_machine(folders=state(GIB, errno.EACCES)), "home-not-writable", "ls -ld"),
    ("glibc is old", on_machine(torch_version=None, torch_error=GLIBC, gpus=()), "glibc-old", "2.28"),
    (
        "PyTorch is not there",
        on_machine(missing=("torch",), torch_version=None),
        "extra-missing",
        "barnraise[contributor]",
    ),
    ("another package has our name", on_machine(overwritten="'merge' is overwritten"), "package-overwritten", "venv"),
    ("Python is old", on_machine(python=(3, 9, 2)), "python-old", "3.11 or newer"),
    (
        "too little video memory",
        in_the_run(replace(SOUND, cards=(Card("GT 1030", 2 * GIB, 30 << 20),))),
        "memory-short",
        "30 MiB of video memory",
    ),
    (
        "too little memory",
        in_the_run(replace(SOUND, gpus=(), cards=(), free_bytes=200 << 20)),
        "memory-short",
        "200 MiB of memory",
    ),
    (
        "a context too long for the card",
        in_the_run(info=TALL, parameters=10**9, operations_per_s=1e15),
        "memory-short",
        "one example",
    ),
    ("the run is over", in_the_run(complete="the run is complete after 30 rounds"), "run-ended", "30 rounds"),
    ("the protocol is newer", in_the_run(said={**RUN, "protocol": 2}, info=None), "protocol-newer", "pip install -U"),
    ("the protocol is older", in_the_run(said={**RUN, "protocol": 0}, info=None), "protocol-older", "operator"),
    ("a field that we cannot read", in_the_run(info=None, unreadable="model: no such"), "run-unreadable", "model: no"),
    ("the key is banned", in_the_run(key=history(banned="poison")), "key-banned", "poison"),
    (
        "the key was replaced",
        in_the_run(key=history(keys=[{"key": OTHER, "how": "rotated", "since_ms": 2}])),
        "key-retired",
        OTHER[:10],
    ),
    ("the architecture is unknown", in_the_run(task_error="no architecture 'mamba'"), "architecture-unknown", "mamba"),
    ("the data is not here", in_the_run(data_error="no module json"), "data-missing", "no module json"),
    ("the machine is too slow", in_the_run(operations_per_s=1e9), "too-slow", "round.lease_for_s"),
    ("the upload is too slow", in_the_run(upload_bytes_per_s=50.0), "upload-slow", "codec"),
]


@pytest.mark.parametrize(("findings", "cause", "word"), [row[1:] for row in CAUSES], ids=[row[0] for row in CAUSES])
def test_the_right_thing_is_blamed(findings: list[Finding], cause: str, word: str) -> None:
    main = main_cause(findings)
    assert main is not None
    assert main.cause == cause
    assert word in main.sentence
    assert main.cure
    assert {finding.cause for finding in findings if finding.mark == "fail"} == {cause}  # and nothing that follows


def test_where_a_quota_is_used_up_nothing_is_said_of_bytes_that_are_free() -> None:
    said = [finding.found for finding in in_the_run(OVER_QUOTA) if finding.check in {"disk (state)", "room"}]
    assert ["free in" in found for found in said] == [False, False]


def test_where_all_is_well_nothing_is_blamed() -> None:
    findings = on_machine()
    assert [finding.check for finding in findings if finding.mark not in {"ok", "skipped"}] == []
    diagnosis = Diagnosis(tuple(findings), URL)
    assert (diagnosis.main, diagnosis.warnings, diagnosis.as_json()["can_join"]) == (None, 0, True)


def test_without_torch_nothing_else_is_judged_by_it() -> None:
    bare = replace(SOUND, missing=("torch", "psutil"), torch_version=None, torch_cuda=None, gpus=())
    findings = [*judge_machine(bare), *judge_terms(replace(FITS, parameters=None), bare)]
    assert {finding.cause for finding in findings if finding.mark == "fail"} == {"extra-missing"}


@pytest.mark.parametrize(
    ("findings", "cause"),
    [
        (on_machine(gpus=(), cards=card("470.57", (11, 4))), "driver-old"),
        (on_machine(gpus=(), torch_cuda=None), "torch-without-cuda"),
        (
            on_machine(gpus=(), cards=card("535.1", (12, 2)), useless=("no kernel image is available",)),
            "card-unsupported",  # a driver of the same major version serves it
        ),
        (on_machine(gpus=(), cuda_error="driver and library differ"), "cuda-broken"),
        (on_machine(gpus=(), useless=("CUDA error: no kernel image is available",)), "card-unsupported"),
        (in_the_run(one_useless("no kernel image is available")), "card-unsupported"),
        (in_the_run(one_useless("unspecified launch failure")), "cuda-broken"),
        (in_the_run(local=LocalFacts(ME, locked=True)), "key-in-use"),
        (in_the_run(key=history(pending={"claim": "0" * 32, "new": OTHER, "effective_at_ms": 9})), "key-claimed"),
        (in_the_run(offset_s=-200.0), "clock-drifts"),
        (in_the_run(replace(SOUND, cards=(Card("GT", 2 * GIB, 150 << 20),))), "memory-tight"),
        (in_the_run(operations_per_s=2.5e9), "slow"),
        (on_the_way(url="http://run.test", tls=None), "no-tls"),
    ],
)
def test_what_is_odd_and_not_in_the_way_is_a_warning(findings: list[Finding], cause: str) -> None:
    assert main_cause(findings) is None
    assert [finding.cause for finding in findings if finding.mark == "warning"] == [cause]


def test_of_two_cards_the_useless_one_is_named_and_the_other_is_judged() -> None:
    findings = {finding.check: finding for finding in in_the_run(one_useless("no kernel image is available"))}
    assert "GPU 0, GT 710, cannot be used" in findings["gpu"].sentence
    assert findings["gpu"].cure.endswith("until then it is left out")
    assert findings["device"].found == "CUDA: RTX 3060"
    assert (findings["memory"].mark, findings["memory"].found) == ("ok", "11 GiB free on the card")


def test_of_two_useless_cards_each_has_its_cause_and_its_cure() -> None:
    useless = ("GPU 0, GT 710, cannot be used: no kernel image", "GPU 1, GTX 980, cannot be used: launch failure")
    for gpus, until_then in ((("RTX 3060",), "it is left out"), ((), "the CPU trains")):
        found = [finding for finding in on_machine(useless=useless, gpus=gpus) if finding.check == "gpu"]
        assert [finding.cause for finding in found] == ["card-unsupported", "cuda-broken"]
        for finding, said, cure in zip(found, useless, (machine.OTHER_BUILD, machine.LOOK_AT_DRIVER), strict=True):
            assert finding.found.startswith(said)
            assert finding.cure == f"{cure}; until then {until_then}"


def test_of_two_cards_that_compute_the_one_that_join_takes_is_judged() -> None:
    cards = (Card("RTX 3060", 12 * GIB, 200 << 20), Card("RTX 4090", 24 * GIB, 23 * GIB))
    two = replace(SOUND, cards=cards, gpus=("RTX 3060", "RTX 4090"))
    findings = {finding.check: finding for finding in in_the_run(two)}
    assert findings["device"].found == "CUDA: RTX 4090"
    assert (findings["memory"].mark, findings["memory"].found) == ("ok", "23 GiB free on the card")
    wide = replace(two, cards=(*cards, Card("H100", 80 * GIB, 79 * GIB)))  # and torch does not compute on that one
    assert wide.card == cards[1]


def test_an_old_driver_is_named_with_both_numbers_and_the_cpu_trains() -> None:
    findings = {finding.check: finding for finding in on_machine(gpus=(), cards=card("470.57", (11, 4)))}
    assert "CUDA up to 11.4; this PyTorch was built for CUDA 12.8" in findings["gpu"].sentence
    assert findings["gpu"].cure.endswith("until then the CPU trains")
    assert findings["device"].mark == "ok"
    assert findings["device"].found.startswith("the CPU")


# -- estimates --------------------------------------------------------------------------------


def test_what_a_unit_needs_follows_from_a_few_numbers() -> None:
    small = shape_of(ByteLMConfig())
    assert small is not None
    need = what_it_needs(3_082_496, small, 8, CodecConfig())
    assert need.device_least == 16 * 3_082_496 + 256 * (4 * 256 * 68 + 256 * 12)
    assert need.device_whole > need.device_least
    assert activations_bytes(small, 8) == 8 * activations_bytes(small, 1)
    assert update_bytes(3_082_496, CodecConfig(name="dense")) == 4 * 3_082_496
    gpt2 = CausalLMConfig(
        architecture="causal-lm",
        config={"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "vocab_size": 50257},
        context=1024,
    )
    shape = shape_of(gpt2)
    assert shape is not None
    assert (shape.layers, shape.width, shape.words) == (12, 768, 50257)
    assert unit_seconds(10**9, 1000, 6e12) == 1.0


@settings(deadline=None)
@given(st.integers(1, 10**10), st.integers(1, 512), st.integers(1, 2048))
def test_more_never_needs_less(parameters: int, batch: int, k: int) -> None:
    shape, codec = shape_of(ByteLMConfig()), CodecConfig(name="topk", k=k)
    need, more = what_it_needs(parameters, shape, batch, codec), what_it_needs(parameters * 2, shape, batch + 1, codec)
    assert (need.device_least, need.device_whole, need.machine, need.update) < (
        more.device_least,
        more.device_whole,
        more.machine,
        more.update,
    )
    assert need.device_least <= need.device_whole
    assert need.update <= update_bytes(parameters, CodecConfig(name="dense"))


# -- join -------------------------------------------------------------------------------------


def looking(*, trouble: Any = "refused") -> Callable[[str], NetworkFacts]:
    return lambda url: replace(REACHED, url=url, connects=gone("203.0.113.7", trouble=trouble))


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_every_refusal_has_its_cause(code: str) -> None:
    finding = judge_error(RefusedError("the coordinator refused", status=403, remote_code=code), URL, looking())
    assert finding is not None
    assert (finding.cause, bool(finding.cure)) == (REFUSALS[code][0], True)


@pytest.mark.parametrize(
    ("code", "cause"),
    [("quota-exceeded", "quota"), ("replayed-message", "key-elsewhere"), ("banned", "key-banned")],
)
def test_a_quota_and_a_key_used_elsewhere_are_named(code: str, cause: str) -> None:
    finding = judge_refusal(code, "4 of your updates are not finished, 4 are allowed")
    assert finding is not None
    assert finding.cause == cause


def test_a_refusal_that_says_itself_is_left_alone() -> None:
    assert judge_refusal("no-such-version", "there is no 9.9.9") is None
    assert judge_error(LeaseError("x"), URL, looking()) is None


def started(events: list[NodeEvent], error: Exception | None = None) -> list[NodeEvent]:
    """What is reported of a start in which these events happen."""
    told: list[NodeEvent] = []
    with diagnosing(URL, told.append, looking()) as report:
        for event in events:
            report(event)
        if error is not None:
            raise error
    return told


def test_whoever_waits_for_a_coordinator_at_the_start_is_told_why_once() -> None:
    told = started([Waiting("waiting for run.test"), Waiting("waiting for run.test")])
    notices = [event.text for event in told if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "nothing listens at its port 443" in notices[0]
    assert f"barnraise doctor {URL}" in notices[0]


def test_a_node_that_has_joined_waits_without_a_diagnosis() -> None:
    joined = Joined("toy", URL, "ada", ME, "/home/ada")
    assert [event.kind for event in started([joined, Waiting("round 3 is full")])] == ["joined", "waiting"]


def test_an_error_at_the_start_has_its_cause_beside_it() -> None:
    with pytest.raises(UnreachableError, match=r"gave up(.|\n)*nothing listens at its port 443") as caught:
        started([], UnreachableError("gave up"))
    assert f"barnraise doctor {URL}" in str(caught.value)
    with pytest.raises(RefusedError, match="another key of yours") as refused:
        started([], RefusedError("your key may not contribute", status=403, remote_code="banned"))
    assert refused.value.remote_code == "banned"
    with pytest.raises(UsageError) as usage:
        started([], UsageError("which run?"))
    assert str(usage.value) == "which run?"


def test_what_the_coordinator_said_is_said_once() -> None:
    with pytest.raises(RefusedError) as caught:
        started([], RefusedError("dated 86,400 s ahead", status=400, remote_code="clock-skew"))
    assert str(caught.value) == (
        f"dated 86,400 s ahead\n  set this machine's clock: sudo timedatectl set-ntp true. More: barnraise doctor {URL}"
    )


def test_every_cause_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="ascii")
    told = {
        name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`([a-z0-9-]+)`", line)
    }
    source = "".join(path.read_text(encoding="ascii") for path in Path(machine.__file__).parent.glob("*.py"))
    causes = set(re.findall(r'cause="([a-z0-9-]+)"', source)) | {cause for cause, _ in REFUSALS.values()}
    assert causes - told == set()
