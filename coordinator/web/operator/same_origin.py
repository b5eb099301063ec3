"""Does a request that changes something come from a page of ours? One rule for every unsafe method.

A browser says so itself where it can (Fetch Metadata), else by Origin, else by Referer. A request that says
nothing is refused: no browser of today sends a form without any of them.

Source: OWASP Cross-Site Request Forgery Prevention Cheat Sheet,
https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html;
Fetch Metadata, https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

__all__ = ["foreign_origin"]


def foreign_origin(headers: Mapping[str, str], hosts: Collection[str]) -> str:
    """Why a request is not from a page of ours; "" where it is.

    Args:
        headers: names in lower case. hosts: ``host[:port]`` that are ours.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return f"it comes from another site ({site[:20]})"
    for name in ("origin", "referer"):
        said = headers.get(name)
        if said == "null" and site is not None:
            continue  # a page that sends no referrer sends no origin either, and the browser has said where it is
        if said is not None:
            found = urlsplit(said).netloc.lower() if said.isprintable() else ""
            return "" if found and found in hosts else f"it comes from a page of {said[:80]!a}"
    return "" if site is not None else "it does not say from which page it comes"
