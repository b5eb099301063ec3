"""A node that cannot start says what the doctor would: the main cause, once, and where there is more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from barnraise.errors import BarnraiseError, UnreachableError, UsageError
from contributor.doctor.examine import judge_error
from contributor.doctor.finding import Finding
from contributor.doctor.network import NetworkFacts
from contributor.doctor.observe_network import observe_network
from contributor.events import NodeEvent, Notice
from contributor.transport import base_url

__all__ = ["diagnosing"]

Report = Callable[[NodeEvent], None]


@contextmanager
def diagnosing(url: str, report: Report, look: Callable[[str], NetworkFacts] = observe_network) -> Iterator[Report]:
    """Report as before, and add the cause when the coordinator is waited for at the start, or an error ends it.

    Args:
        look: at the way to the coordinator; called at most once.

    Yields:
        what events are to be reported to.
    """
    joined = told = False

    def also(event: NodeEvent) -> None:
        nonlocal joined, told
        report(event)
        joined = joined or event.kind == "joined"
        if event.kind == "waiting" and not joined and not told:
            told = True
            finding = judge_error(UnreachableError(""), base_url(url), look)
            if finding is not None:
                report(Notice(_line(finding, url)))

    try:
        yield also
    except UsageError:
        raise
    except BarnraiseError as error:
        finding = None if told else judge_error(error, base_url(url), look)
        if finding is not None and finding.cure and finding.cure not in str(error):
            said = finding.cure if finding.found == str(error) else finding.sentence
            error.args = (f"{error}\n  {said}. More: barnraise doctor {url}", *error.args[1:])
        raise


def _line(finding: Finding, url: str) -> str:
    return f"{finding.sentence}. More: barnraise doctor {url}"
