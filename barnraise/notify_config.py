"""Who is told what happens in a run: the tables below ``[notify]`` of its configuration.

None of this is published: it is left out whenever a configuration is written down for others. The
secrets themselves are never in the file; it names a variable of the environment or a file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from barnraise.sections import Section

__all__ = ["NOTICES", "AppriseConfig", "Notice", "NotifyConfig", "TargetConfig", "WebhookConfig"]

Notice = Literal[
    "release.tagged",
    "release.yanked",
    "release.promoted",
    "round.rejected",
    "round.abandoned",
    "update.rejected",
    "suite.failed",
    "channel.moved-back",
    "contributor.banned",
    "order.refused",
]
NOTICES: tuple[Notice, ...] = get_args(Notice)
USUAL: tuple[Notice, ...] = ("release.tagged", "round.rejected", "suite.failed", "channel.moved-back")


class TargetConfig(Section):
    """Somebody who is told.

    Attributes:
        name: of the target, in the ledger and in metrics.
        events: what it is told of.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    events: Annotated[tuple[Notice, ...], Field(min_length=1)] = USUAL


class WebhookConfig(TargetConfig):
    """An address that gets a signed POST for every event, after Standard Webhooks.

    Attributes:
        secret_env, secret_file: where the secret is, one of the two: a variable, or a file of mode 0600.
        allow_private: the address may be one of this machine or network, and plain HTTP.
    """

    url: Annotated[str, Field(max_length=2000)]
    secret_env: str | None = None
    secret_file: str | None = None
    allow_private: bool = False

    @model_validator(mode="after")
    def _usable(self) -> WebhookConfig:
        if (self.secret_env is None) == (self.secret_file is None):
            raise ValueError("give one of secret_env and secret_file; barnraise notify secret FILE makes a secret")
        _require_anywhere("secret_file", self.secret_file)
        parts = urlsplit(self.url)
        allowed = ("https", "http") if self.allow_private else ("https",)
        if parts.scheme not in allowed or not parts.hostname:
            raise ValueError(f"url must begin with {' or '.join(f'{scheme}://' for scheme in allowed)} and name a host")
        if parts.username is not None or parts.fragment:
            raise ValueError("url must have neither a user nor a fragment")
        return self


class AppriseConfig(TargetConfig):
    """A service that apprise can reach: chats, mail, telephones. Its URL is a secret.

    Attributes:
        url_env, url_file: where apprise's URL is, one of the two: a variable, or a file of mode 0600.
    """

    url_env: str | None = None
    url_file: str | None = None

    @model_validator(mode="after")
    def _usable(self) -> AppriseConfig:
        if (self.url_env is None) == (self.url_file is None):
            raise ValueError("give one of url_env and url_file")
        _require_anywhere("url_file", self.url_file)
        return self


def _require_anywhere(key: str, path: str | None) -> None:
    """Refuse a path that means another file in another folder: run folders keep copies of configurations."""
    if path is not None and not path.startswith(("/", "~/")):
        raise ValueError(f"{key} must be a whole path, beginning with / or ~/")


class NotifyConfig(Section):
    """Everybody who is told."""

    webhooks: tuple[WebhookConfig, ...] = ()
    apprise: tuple[AppriseConfig, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> NotifyConfig:
        names = [target.name for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two targets are called {twice[0]!r}")
        return self

    @property
    def targets(self) -> tuple[WebhookConfig | AppriseConfig, ...]:
        """Webhooks, then the others."""
        return (*self.webhooks, *self.apprise)

    def __bool__(self) -> bool:
        """Whether anybody is told anything."""
        return bool(self.targets)

    def __repr_args__(self) -> Any:
        return [("targets", [target.name for target in self.targets])]
