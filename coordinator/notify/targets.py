"""From a configuration to senders: each takes a message and says what came of it."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from barnraise.errors import MissingExtraError
from barnraise.notify_config import AppriseConfig, NotifyConfig, WebhookConfig
from coordinator.notify.messages import Message
from coordinator.notify.outbox import Answer
from coordinator.notify.secrets import read_secret
from coordinator.notify.webhook import post, read_secret_text

__all__ = ["Target", "open_targets"]

Send = Callable[[Message], Answer]


@dataclass(frozen=True)
class Target:
    """Somebody who is told: by name, of which events, and how."""

    name: str
    events: frozenset[str]
    send: Send


def open_targets(config: NotifyConfig, environment: Mapping[str, str] = os.environ) -> list[Target]:
    """All targets of a run, their secrets read.

    Raises:
        ConfigValueError: a secret is missing or open to others.
        MissingExtraError: apprise is wanted and not installed.
    """
    opened = [Target(one.name, frozenset(one.events), _webhook(one, environment)) for one in config.webhooks]
    return opened + [Target(one.name, frozenset(one.events), _apprise(one, environment)) for one in config.apprise]


def _webhook(config: WebhookConfig, environment: Mapping[str, str]) -> Send:
    text = read_secret(config.name, config.secret_env, config.secret_file, environment)
    key = read_secret_text(text, f"notify target {config.name}")
    return lambda message: post(config, key, message, int(time.time()))


def _apprise(config: AppriseConfig, environment: Mapping[str, str]) -> Send:
    if importlib.util.find_spec("apprise") is None:
        raise MissingExtraError(
            f"notify target {config.name} needs apprise, which is not installed. Run: pip install 'barnraise[notify]'"
        )
    url = read_secret(config.name, config.url_env, config.url_file, environment)

    def send(message: Message) -> Answer:
        import apprise as _apprise

        apprise: Any = _apprise
        service = apprise.Apprise()
        if not service.add(url):
            return Answer(False, "apprise does not know this kind of url")
        told = service.notify(title=f"{message.run}: {message.notice}", body=message.line)
        return Answer(bool(told), "told" if told else "apprise could not deliver it; its log says why")

    return send
