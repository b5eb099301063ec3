"""Which proxy a URL is reached through, as the environment says it."""

from __future__ import annotations

import pytest
import urllib3

from barnraise.proxies import connections, proxy_for, without_password

PROXY = "http://ada:secret@proxy.test:3128"


@pytest.mark.parametrize(
    ("url", "environment", "found"),
    [
        ("http://run.test", {}, None),
        ("http://run.test", {"HTTP_PROXY": "proxy.test:3128"}, "http://proxy.test:3128"),
        ("https://run.test", {"HTTP_PROXY": PROXY}, None),
        ("https://run.test", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://run.test", {"https_proxy": "http://low.test", "HTTPS_PROXY": PROXY}, "http://low.test"),
        ("https://run.test", {"https_proxy": "", "HTTPS_PROXY": PROXY}, None),
        ("https://run.test", {"ALL_PROXY": PROXY}, PROXY),
        ("https://run.test", {"HTTPS_PROXY": PROXY, "NO_PROXY": "run.test"}, None),
        ("https://a.run.test", {"HTTPS_PROXY": PROXY, "NO_PROXY": "x.test, .run.test"}, None),
        ("https://a.run.test", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*.run.test"}, None),
        ("https://notrun.test", {"HTTPS_PROXY": PROXY, "NO_PROXY": "run.test"}, PROXY),
        ("https://run.test:8443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "run.test:443"}, PROXY),
        ("https://run.test:443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "run.test:443"}, None),
        ("https://10.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://[2001:db8::1]", {"HTTPS_PROXY": PROXY, "NO_PROXY": "2001:db8::/32"}, None),
        ("https://run.test", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
        ("http://127.0.0.1:8000", {"HTTP_PROXY": PROXY}, None),
        ("http://[::1]:8000", {"HTTP_PROXY": PROXY}, None),
        ("http://localhost:8000", {"http_proxy": PROXY}, None),
        ("http://run.test", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, None),
    ],
)
def test_the_proxy_of_a_url(url: str, environment: dict[str, str], found: str | None) -> None:
    assert proxy_for(url, environment) == found


def test_a_password_is_sent_to_the_proxy_and_not_shown() -> None:
    assert without_password(PROXY) == "http://proxy.test:3128"
    pool = connections("http://run.test", {"HTTP_PROXY": PROXY})
    assert isinstance(pool, urllib3.ProxyManager)
    assert pool.proxy_headers == {"proxy-authorization": "Basic YWRhOnNlY3JldA=="}
    assert type(connections("http://run.test", {})) is urllib3.PoolManager
