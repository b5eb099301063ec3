"""Judge the way to a coordinator: name, connection, TLS (tls.py), proxy, and what answers there.

Blame the right thing: a page where JSON should be is a portal or a wrong path, and a proxy that wants a password is
not the coordinator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from contributor.doctor.finding import Finding, fail, ok, skipped
from contributor.doctor.tls import TlsFacts, judge_tls

__all__ = ["AnswerFacts", "ConnectFacts", "NetworkFacts", "judge_network", "run_said"]

Trouble = Literal["", "refused", "silent", "no-route", "broken", "tls", "proxy"]


@dataclass(frozen=True, slots=True)
class ConnectFacts:
    """An attempt to connect to one address; ``trouble`` is "" when it worked."""

    address: str
    trouble: Trouble
    said: str = ""
    took_s: float = 0.0

    @property
    def is_v6(self) -> bool:
        return ":" in self.address


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """What came back for a path. ``trouble`` is "" when anything did.

    Attributes:
        location: where a redirect points. date_ms: the Date header. body: its beginning.
    """

    path: str
    trouble: Trouble
    said: str = ""
    status: int = 0
    content_type: str = ""
    location: str = ""
    date_ms: int | None = None
    body: bytes = b""
    took_s: float = 0.0

    @property
    def value(self) -> Any:
        """The JSON value; None when it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def run(self) -> dict[str, Any] | None:
        """What a coordinator says of its run; None where it was no coordinator that answered."""
        value = self.value if self.status == 200 else None
        return value if isinstance(value, dict) and "coordinator_key" in value and "protocol" in value else None

    @property
    def is_page(self) -> bool:
        head = self.body[:512].lstrip().lower()
        return "html" in self.content_type or head.startswith((b"<!doctype html", b"<html"))


@dataclass(frozen=True)
class NetworkFacts:
    """What was seen on the way to ``url``.

    Attributes:
        proxy: through which requests go; None without. proxy_variables: those that are set, without passwords.
        addresses: of the host, or of the proxy. name_error: why it has none.
        connects: attempts, one for each address. tls: None where the URL is http or nothing could be connected.
        run: the answer to /v1/run below the URL. nonsense: that to a path which no server has.
        at_root: the answer to /v1/run at the root of the host, where the URL has a path.
        now_ms: this machine's clock when ``run`` came.
    """

    url: str
    proxy: str | None = None
    proxy_variables: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    name_error: Literal["", "unknown", "resolver-silent", "no-address"] = ""
    connects: tuple[ConnectFacts, ...] = ()
    v6_works: bool = True
    tls: TlsFacts | None = None
    run: AnswerFacts | None = None
    nonsense: AnswerFacts | None = None
    at_root: AnswerFacts | None = None
    now_ms: int = 0

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def netloc(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)


def run_said(facts: NetworkFacts) -> dict[str, Any] | None:
    """What a coordinator says of its run, as it came; None where none answered."""
    return None if facts.run is None else facts.run.run


def judge_network(facts: NetworkFacts) -> list[Finding]:
    """Name, proxy, connection, TLS and answer, in the order in which they depend on each other."""
    found = [_judge_name(facts)]
    for check, judge in (("connection", _judge_tcp), ("tls", _judge_tls), ("answer", _judge_answer)):
        broken = any(finding.mark == "fail" for finding in found)
        found.append(skipped(check, "not tried: see above") if broken else judge(facts))
    return [_judge_proxy(facts), *found]


def _judge_proxy(facts: NetworkFacts) -> Finding:
    """Is a proxy between this machine and the coordinator, or set in vain."""
    if facts.proxy is not None:
        return ok("proxy", f"requests to {facts.netloc} go through {facts.proxy}")
    if facts.proxy_variables:
        names = ", ".join(sorted(facts.proxy_variables))
        return ok("proxy", f"{names} set; {facts.host} is excepted and reached directly")
    return ok("proxy", "none is set")


def _judge_name(facts: NetworkFacts) -> Finding:
    """Does the host's name, or the proxy's, have an address."""
    who = facts.proxy or facts.host
    if facts.name_error == "unknown":
        if facts.proxy is not None:
            return fail("name", f"the proxy {who} has no address", cause="proxy-unknown", cure=_PROXY_CURE)
        return fail(
            "name",
            f"no name server knows {who}",
            cause="name-unknown",
            cure="look for a typing mistake in the URL; a name inside a company or VPN needs that network",
        )
    if facts.name_error == "resolver-silent":
        return fail(
            "name",
            f"no name server answers, so nobody can say where {who} is",
            cause="no-network",
            cure="is this machine online? Try another site; then the name server's setting (/etc/resolv.conf)",
        )
    if facts.name_error == "no-address":
        return fail(
            "name", f"{who} exists and has no address", cause="name-unknown", cure="ask the operator for the URL"
        )
    return ok("name", f"{who} is {', '.join(facts.addresses[:3])}")


def _judge_tcp(facts: NetworkFacts) -> Finding:
    """Does anything take a connection at the host's port, or the proxy's."""
    who = facts.proxy or f"{facts.host} port {facts.port}"
    good = next((attempt for attempt in facts.connects if not attempt.trouble), None)
    if good is not None:
        return ok("connection", f"{who} answers at {good.address} in {good.took_s * 1000:.0f} ms")
    if facts.connects and all(attempt.is_v6 for attempt in facts.connects) and not facts.v6_works:
        return fail(
            "connection",
            f"{facts.host} has IPv6 addresses only, and this machine has no IPv6",
            needed="IPv6, or a coordinator with an IPv4 address",
            cause="ipv6-only",
            cure="turn IPv6 on in your router, use a network that has it, or ask the operator for an IPv4 address",
        )
    if facts.proxy is not None:
        said = facts.connects[0].said if facts.connects else "no answer"
        return fail("connection", f"the proxy {who} cannot be reached: {said}", cause="proxy-down", cure=_PROXY_CURE)
    troubles = {attempt.trouble for attempt in facts.connects}
    if "refused" in troubles:
        return fail(
            "connection",
            f"{facts.host} is there, and nothing listens at its port {facts.port}",
            cause="port-refused",
            cure=f"check the port in the URL; the coordinator may not be running: ask whoever operates {facts.netloc}",
        )
    if "no-route" in troubles:
        return fail(
            "connection",
            f"there is no way from here to {facts.host} ({facts.connects[0].said})",
            cause="no-route",
            cure="is the VPN or network on that it is in?",
        )
    return fail(
        "connection",
        f"{facts.host} port {facts.port} is silent: neither yes nor no",
        cause="firewall",
        cure="a firewall drops it, here, at your provider or there; try another network, then ask the operator",
    )


def _judge_tls(facts: NetworkFacts) -> Finding:
    return judge_tls(facts.url, facts.tls, facts.now_ms)


def _judge_answer(facts: NetworkFacts) -> Finding:
    """Does a coordinator answer at this URL, and if not, what does."""
    answer = facts.run
    if answer is None:
        return skipped("answer", "nothing was asked")
    if (answer.trouble == "proxy" and "407" in answer.said) or answer.status == 407:
        return fail(
            "answer",
            f"the proxy {facts.proxy} wants a name and password (407)",
            cause="proxy-password",
            cure="HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT barnraise join ..., or NO_PROXY=" + facts.host,
        )
    if answer.trouble == "proxy":
        return fail("answer", f"the proxy {facts.proxy} says: {answer.said}", cause="proxy-down", cure=_PROXY_CURE)
    if answer.trouble:
        return fail(
            "answer",
            f"connected, and then no answer: {answer.said}",
            cause="no-answer",
            cure=f"the coordinator may be busy or stuck; try again, then ask whoever operates {facts.netloc}",
        )
    said = run_said(facts)
    if said is not None:
        return ok("answer", f"run {str(said.get('name'))[:64]} at {facts.netloc}, in {answer.took_s * 1000:.0f} ms")
    return _not_a_coordinator(facts, answer)


def _not_a_coordinator(facts: NetworkFacts, answer: AnswerFacts) -> Finding:
    root = f"{urlsplit(facts.url).scheme}://{facts.netloc}"
    if facts.at_root is not None and facts.at_root.run is not None:
        return fail(
            "answer",
            f"there is no coordinator at {facts.url}; there is one at {root}",
            cause="wrong-path",
            cure=f"barnraise join {root}",
        )
    if answer.status == 511 or _leads_away(facts, answer) or (answer.is_page and _answers_everything(facts)):
        return fail(
            "answer",
            f"a web page answers for every address (HTTP {answer.status}): a portal of this network",
            cause="captive-portal",
            cure="open any site in a browser, log in or accept there, and try again",
        )
    if answer.status == 400 and b"https" in answer.body[:2000].lower():
        https = facts.url.replace("http://", "https://", 1)
        return fail("answer", f"{facts.netloc} wants TLS", cause="needs-https", cure=f"barnraise join {https}")
    if answer.status in {502, 503, 504}:
        return fail(
            "answer",
            f"the server in front answers, the coordinator behind it does not (HTTP {answer.status})",
            cause="coordinator-down",
            cure=f"nothing on this machine; wait, or tell whoever operates {facts.netloc}",
        )
    if answer.status in {401, 403}:
        return fail(
            "answer",
            f"{facts.netloc} lets nobody in without leave (HTTP {answer.status})",
            cause="not-allowed",
            cure="ask the operator; a coordinator itself asks for no password",
        )
    return fail(
        "answer",
        f"something answers at {facts.url} and it is no coordinator (HTTP {answer.status}, "
        f"{answer.content_type.split(';')[0] or 'no content type'})",
        cause="wrong-path",
        cure="check host, port and path of the URL: behind a reverse proxy a run often lies below a path, such as "
        f"{root}/RUN",
    )


def _leads_away(facts: NetworkFacts, answer: AnswerFacts) -> bool:
    """A redirect to another host, as portals do."""
    host = urlsplit(answer.location).hostname
    return 300 <= answer.status < 400 and host is not None and host != facts.host


def _answers_everything(facts: NetworkFacts) -> bool:
    """A path that no server has is answered as well."""
    other = facts.nonsense
    return other is not None and other.status == 200 and other.is_page


_PROXY_CURE = "correct HTTPS_PROXY or HTTP_PROXY, or unset it where the coordinator is reached directly"
