"""What each test of a suite asks and how strictly, written beside its numbers, so that releases can be compared.

    asks        digest of the question: kind, version of its code, options, and which examples it reads
    examples, at_hand, alpha        with the margin, which is there already: how strictly it asks
    better      ``lower`` or ``higher``

See ``barnraise.promises`` for what is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from barnraise.digest import digest_json
from barnraise.suite import AcceptanceTestConfig, SuiteConfig
from coordinator.acceptance.kinds import make_kind

__all__ = ["asked", "with_questions"]


def with_questions(suite: SuiteConfig, summary: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The numbers of a verdict, each test's with what it asks.

    Args:
        summary: test name -> numbers; tests that the suite does not have stay as they are.
    """
    tests = {test.name: test for test in suite.tests}
    return {name: {**row, **(_told(suite, tests[name]) if name in tests else {})} for name, row in summary.items()}


def asked(suite: SuiteConfig, test: AcceptanceTestConfig) -> str:
    """Digest of a test's question. How a file that it reads is called and where it lies is no part of it."""
    named = {"data": (test.data, suite.data), "train": (test.train, suite.data)}
    named["attachment"] = (test.attachment, suite.attachments)
    files = {what: files[name].digest for what, (name, files) in named.items() if name is not None}
    options = {name: value for name, value in test.options.items() if name not in files}
    code = {"kind": test.kind, "version": make_kind(test).version}
    return digest_json({**code, "options": options, "direction": test.direction, "shard": test.shard, "files": files})


def _told(suite: SuiteConfig, test: AcceptanceTestConfig) -> dict[str, Any]:
    return {
        "asks": asked(suite, test),
        "examples": test.examples,
        "at_hand": test.at_hand,
        "alpha": suite.alpha,
        "better": "higher" if make_kind(test).metric.higher_is_better else "lower",
    }
