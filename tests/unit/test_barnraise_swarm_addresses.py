"""Multiaddresses: what is taken for one, and whom it names."""

from __future__ import annotations

import pytest

from barnraise.swarm.addresses import fault_of, peer_of

PEER = "12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"
RELAY = "12D3KooWGQ1jW7mR1NfCkzW2XaeSkeTuLMqqyzdHCaTbQnFfGBxk"


@pytest.mark.parametrize(
    "where",
    ["/ip4/1.2.3.4/tcp/4001", "/ip6/::1/tcp/1", "/dns4/example.org/tcp/443", "/dns/a-b.example/udp/4001/quic"],
)
def test_an_address_of_a_peer_names_it_and_one_to_listen_at_does_not(where: str) -> None:
    reached = f"{where}/p2p/{PEER}"
    assert not fault_of(where, peer=False)
    assert not fault_of(reached, peer=True)
    assert peer_of(reached) == PEER
    assert fault_of(where, peer=True)
    assert fault_of(reached, peer=False)
    assert peer_of(where) == ""


def test_a_relay_is_on_the_way_and_not_who_is_reached() -> None:
    assert peer_of(f"/ip4/1.2.3.4/tcp/4001/p2p/{RELAY}/p2p-circuit/p2p/{PEER}") == PEER


@pytest.mark.parametrize(
    "text",
    ["", "/", "example.org:4001", "/ip4/1.2.3.4", "/ip4/1.2.3.4/tcp/x", f"/ip4/1.2.3.4/tcp/1/p2p/{PEER}\n", "/unix/a"],
)
def test_everything_else_is_refused_with_an_example(text: str) -> None:
    assert "such as /ip4/" in fault_of(text, peer=True)
    assert "such as /ip4/" in fault_of(text, peer=False)


def test_a_long_one_is_refused_and_cut() -> None:
    long = f"/dns4/{'a' * 400}/tcp/1/p2p/{PEER}"
    assert len(fault_of(long, peer=True)) < 250
