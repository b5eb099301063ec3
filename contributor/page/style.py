"""How the page looks, light and dark. Part of the page itself, so that it loads nothing."""

from __future__ import annotations

import base64
import hashlib

__all__ = ["STYLE", "STYLE_HASH"]

STYLE = """
:root{--ink:#1c1f23;--soft:#5d6670;--paper:#fbfaf7;--card:#fff;--line:#dcd9d0;--accent:#1f6f5c;--warn:#9a5a00}
@media (prefers-color-scheme:dark){:root{--ink:#e8e6e1;--soft:#9aa3ab;--paper:#16181b;--card:#1e2125;--line:#33383e;
--accent:#6cc7ae;--warn:#e0a458}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:54rem;padding:1.5rem 1rem 3rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{margin:0;font-size:1.4rem}h1 span{font-weight:400;color:var(--soft)}
h2{margin:0 0 .5rem;font-size:1rem}
p{margin:.25rem 0}.key,.small,footer{color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
section{margin:1rem 0;padding:1rem;background:var(--card);border:1px solid var(--line);border-radius:8px}
.now{border-left:4px solid var(--accent)}.doing{font-size:1.15rem}
.waiting b,.resting b{color:var(--warn)}.crashed b{color:#c0392b}
progress{width:100%;height:.6rem;accent-color:var(--accent)}
form{display:flex;gap:.5rem;flex-wrap:wrap}
button{font:inherit;padding:.4rem .9rem;border:1px solid var(--line);border-radius:6px;background:var(--card);
color:var(--ink);cursor:pointer}
button:hover,button:focus-visible{border-color:var(--accent);outline:2px solid var(--accent);outline-offset:1px}
svg{width:100%;height:auto;display:block}.curve{fill:none;stroke:var(--accent);stroke-width:2;
stroke-linejoin:round}.grid{stroke:var(--line)}.mark{fill:var(--soft);font-size:11px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}dt{color:var(--soft)}dd{margin:0}
ul{margin:0;padding-left:1.1rem}time{color:var(--soft)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{padding:.3rem .6rem .3rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
td:last-child{min-width:14rem}.n{text-align:right;white-space:nowrap}td:first-child{white-space:nowrap}
"""

STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")
"""For the policy that allows this style and no other. Source: https://www.w3.org/TR/CSP3/#external-hash"""
