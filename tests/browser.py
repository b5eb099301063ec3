"""A real browser on the pages of a run: Chromium without a window, and a gateway that serves in a thread.

Chromium is the system's own (``make chromium`` installs it), found as ``chromium`` on the path or named by
BARNRAISE_CHROMIUM. It talks to nobody but the gateway.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from coordinator.gateway import GatewayState, create_app
from coordinator.gateway.__main__ import listen
from coordinator.gateway.deadlines import patient_protocol

__all__ = ["Visit", "axe_findings", "chromium", "serving", "visit"]

# The machine's network may be closed; without these Chromium looks for its makers' hosts.
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
expect.set_options(timeout=60_000)  # a machine may be busy
GRAVE = frozenset({"serious", "critical"})
WATCH = """
window.__refused = [];
document.addEventListener("securitypolicyviolation", (event) => window.__refused.push(event.violatedDirective));
"""


@contextmanager
def serving(state: GatewayState) -> Iterator[str]:
    """The gateway of a run as its process serves it; the address."""
    app = create_app(state)
    config = uvicorn.Config(
        app, http=patient_protocol(state.config.gateway), ws="none", lifespan="off", log_config=None,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    app.state.site.tail.stopping = lambda: server.should_exit
    with listen(state.config.gateway, 0) as door:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.02)
            host, port = door.getsockname()[:2]
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    path = os.environ.get("BARNRAISE_CHROMIUM") or shutil.which("chromium")
    assert path, "Chromium is missing: run make chromium, or name it in BARNRAISE_CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page that is open, and everything it complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def refused(self) -> list[str]:
        """What the policy of the page has forbidden."""
        found: list[str] = self.page.evaluate("window.__refused")
        return found

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path, full_page=True)


@contextmanager
def visit(browser: Browser, url: str, *, width: int = 1440, theme: str = "light", **more: Any) -> Iterator[Visit]:
    """A page in a browser that has no past."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if theme == "dark" else "light", **more
    )
    try:
        context.add_init_script(WATCH)
        seen = Visit(context.new_page())

        def note(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                seen.complaints.append(message.text)

        seen.page.on("console", note)
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("dialog", lambda dialog: (seen.complaints.append("a dialog opened"), dialog.dismiss()))
        seen.page.goto(url)
        yield seen
    finally:
        context.close()


def axe_findings(page: Page) -> list[str]:
    """What axe-core finds that keeps somebody out, each with where."""
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']} ({rule['impact']}): {rule['nodes'][0]['html'][:160]}"
        for rule in found["violations"]
        if rule["impact"] in GRAVE
    ]
