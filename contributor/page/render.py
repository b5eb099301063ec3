"""Status and history as one HTML page. Pure; everything that was not written here is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from barnraise.clock import lasting
from contributor.history import UnitLine
from contributor.page.curve import curve_svg
from contributor.page.style import STYLE
from contributor.status import NodeStatus

__all__ = ["Shown", "page_html", "refusal_html"]

UNITS_SHOWN = 50
REFRESH_S = 5
WORDS = {
    "starting": "starting",
    "pulling": "fetching the model",
    "training": "training",
    "sending": "sending an update",
    "waiting": "waiting",
    "resting": "resting",
    "stopped": "stopped",
    "crashed": "crashed",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page is made from. ``form_token`` goes into its buttons."""

    status: NodeStatus
    units: Sequence[UnitLine]
    now_ms: int
    form_token: str


def page_html(shown: Shown) -> str:
    """The whole page."""
    status = shown.status
    curve = curve_svg(status.curve.losses, status.curve.stride, status.unit)
    return _document(
        f"{status.name or 'node'}: {WORDS.get(status.doing, status.doing)}",
        f"""\
<header><h1>{escape(status.name)} <span>for {escape(status.run)}</span></h1>
<p class="key">key {escape(status.contributor[:16])}, process {status.pid}, {escape(status.url)}</p></header>
<main>
{_now(shown)}
{_buttons(shown)}
<section><h2>Loss</h2>{curve or "<p>No two steps were done yet.</p>"}
{f'<p class="small">{escape(status.unit)}, every step since this node started</p>' if curve else ""}</section>
{_sums(shown)}
{_swarm(shown)}
{_notices(shown)}
{_history(shown)}
</main>
<footer>Read by you alone: this address works on this machine only. It loads itself again every {REFRESH_S} s.</footer>
""",
        refresh=True,
    )


def refusal_html(reason: str) -> str:
    """A page for a request that is not answered."""
    return _document("Barnraise", f"<main><p>{escape(reason)}</p></main>", refresh=False)


def _now(shown: Shown) -> str:
    status = shown.status
    since = f" for {lasting(shown.now_ms - status.since_ms)}" if status.since_ms else ""
    parts = [
        f'<p class="doing {escape(status.doing)}"><b>{escape(WORDS.get(status.doing, status.doing))}</b>{since}</p>'
    ]
    if status.why:
        parts.append(f"<p>{escape(status.why)}</p>")
    if status.steps:
        loss = f", loss {status.loss:.3f} {status.unit}" if status.loss is not None else ""
        parts.append(
            f'<progress max="{status.steps}" value="{status.step}"></progress>'
            f"<p>step {status.step} of {status.steps}{escape(loss)}: round {status.round}, {escape(status.shard)}, "
            f"from {escape(status.base_version)}</p>"
        )
    asked = {"pause": "Pausing was asked for.", "finish": "It stops after this unit.", "leave": "It is leaving."}
    if status.asked in asked and status.doing not in {"resting", "stopped"}:
        parts.append(f"<p>{asked[status.asked]}</p>")
    return f'<section class="now" aria-live="polite">{"".join(parts)}</section>'


def _buttons(shown: Shown) -> str:
    status = shown.status
    if status.doing in {"stopped", "crashed"}:
        return ""
    paused = status.asked == "pause"
    wanted = [("resume", "Resume") if paused else ("pause", "Pause"), ("finish", "Finish this unit, then stop")]
    if status.asked in {"finish", "leave"}:
        return ""
    buttons = "".join(f'<button name="action" value="{action}">{label}</button>' for action, label in wanted)
    token = escape(shown.form_token, quote=True)
    return f'<form method="post" action=""><input type="hidden" name="token" value="{token}">{buttons}</form>'


def _sums(shown: Shown) -> str:
    status = shown.status
    receipt = status.last_receipt
    rows = [
        ("units with a receipt", f"{status.units:,}"),
        ("tokens trained", f"{status.tokens:,}"),
        ("sent", f"{status.bytes_up:,} bytes"),
        ("fetched", f"{status.bytes_down:,} bytes"),
        (
            "last receipt",
            f"{receipt['digest'][3:13]}, round {receipt['round']}, {lasting(shown.now_ms - receipt['at_ms'])} ago"
            if receipt
            else "none yet",
        ),
        ("started", f"{lasting(shown.now_ms - status.started_at_ms)} ago"),
    ]
    cells = "".join(f"<dt>{label}</dt><dd>{escape(value)}</dd>" for label, value in rows)
    return f"<section><h2>Since it started</h2><dl>{cells}</dl></section>"


def _swarm(shown: Shown) -> str:
    rows = shown.status.swarm.words()
    if not rows:
        return ""
    cells = "".join(f"<dt>{label}</dt><dd>{escape(said)}</dd>" for label, said in rows)
    return f"<section><h2>With other nodes</h2><dl>{cells}</dl></section>"


def _notices(shown: Shown) -> str:
    if not shown.status.notices:
        return ""
    items = "".join(
        f"<li><time>{_clock(notice['at_ms'])}</time> {escape(notice['text'])}</li>"
        for notice in reversed(shown.status.notices)
    )
    return f"<section><h2>Notes</h2><ul>{items}</ul></section>"


def _history(shown: Shown) -> str:
    units = list(shown.units)[-UNITS_SHOWN:][::-1]
    if not units:
        return "<section><h2>Units</h2><p>None was finished yet.</p></section>"
    rows = "".join(
        f"<tr><td>{_clock(unit.at_ms)}</td><td>{unit.round}</td><td><code>{escape(unit.digest[3:13])}</code></td>"
        f"<td class=n>{unit.steps}</td><td class=n>{unit.loss_first:.3f} &rarr; {unit.loss_last:.3f}</td>"
        f"<td class=n>{unit.bytes:,}</td><td><b>{escape(unit.version or unit.state)}</b> {escape(unit.reason[:160])}"
        "</td></tr>"
        for unit in units
    )
    more = f", the newest {UNITS_SHOWN} of {len(shown.units):,}" if len(shown.units) > UNITS_SHOWN else ""
    return (
        f'<section><h2>Units{more}</h2><div class="wide"><table><thead><tr><th>time (UTC)</th><th>round</th>'
        "<th>update</th><th class=n>steps</th><th class=n>loss</th><th class=n>bytes</th><th>what became of it</th>"
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _document(title: str, body: str, *, refresh: bool) -> str:
    again = f'<meta http-equiv="refresh" content="{REFRESH_S}">' if refresh else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>{again}'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><style>{STYLE}</style></head><body>{body}</body></html>'
    )


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%d %b %H:%M:%S")
