"""Proxies as the environment names them: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, and NO_PROXY for who is reached directly.

Lower case counts too, and wins, as elsewhere; HTTP_PROXY in upper case is not believed in a CGI process, where a
stranger could set it. A machine never reaches itself through a proxy.

Source: the variables have no standard; https://curl.se/docs/manpage.html#ENVIRONMENT says what most programs do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3

__all__ = ["connections", "proxy_for", "without_password"]


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy through which a URL is reached; None for directly."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if _is_here(host) or _excepted(host, parts.port, _read(environment, "no_proxy")):
        return None
    found = _read(environment, f"{parts.scheme}_proxy") or _read(environment, "all_proxy")
    if not found:
        return None
    return found if "://" in found else f"http://{found}"


def without_password(proxy: str) -> str:
    """A proxy's URL to be shown."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def connections(url: str, environment: Mapping[str, str], **options: Any) -> urllib3.PoolManager:
    """Where requests to one server come from, through its proxy where there is one.

    Args:
        options: as urllib3.PoolManager takes them.
    """
    proxy = proxy_for(url, environment)
    if proxy is None:
        return urllib3.PoolManager(**options)
    parts = urlsplit(proxy)
    headers = None
    if parts.username is not None:
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=who)
    return urllib3.ProxyManager(without_password(proxy), proxy_headers=headers, **options)


def _read(environment: Mapping[str, str], name: str) -> str:
    if name in environment:
        return environment[name].strip()
    if name == "http_proxy" and "REQUEST_METHOD" in environment:
        return ""
    return environment.get(name.upper(), "").strip()


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _excepted(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether NO_PROXY names a host: itself, a domain above it, an address range, or everything."""
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if entry == "*":
            return True
        name, _, wanted = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
        name = name.lstrip("*").lstrip(".")
        if not name or (wanted and wanted != str(port)):
            continue
        if host == name or host.endswith(f".{name}") or _in_range(host, name):
            return True
    return False


def _in_range(host: str, name: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
