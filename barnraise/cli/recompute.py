"""``barnraise recompute``: merge a release's updates again, and compare bit for bit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from barnraise.cli.output import print_result, printable
from barnraise.cli.sources import FromOption, JsonOption, TrustOption, find_source
from barnraise.releases.trust import TrustOptions

__all__ = ["recompute"]


def recompute(
    version: Annotated[str, typer.Argument(help="An exact version, such as 0.1.2.")],
    source: FromOption = None,
    trust: TrustOption = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Ray workers; 0 merges in this process.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Repeat every round from the first release to VERSION, from what was published.

    Example: barnraise recompute 0.1.2 --from ./demo-run
    """
    from barnraise.installation import require

    require("coordinator")
    import tempfile
    from pathlib import Path

    from coordinator.conductor.cluster import local_ray, prepare_environment

    def tell(line: str) -> None:
        if not as_json:
            print(printable(line), flush=True)

    place, trusting = find_source(source), TrustOptions.of(trust)
    if workers:
        with tempfile.TemporaryDirectory(prefix="barnraise-ray-") as temporary:
            prepare_environment(Path(temporary) / "ray.token")
            from coordinator.conductor.pool import RayPool
            from coordinator.recompute import recompute as repeat

            with local_ray(workers):
                done = repeat(place, version, trust=trusting, pool=RayPool(), report=tell)
    else:
        from coordinator.recompute import recompute as repeat

        done = repeat(place, version, trust=trusting, report=tell)
    human = f"{version} is what its {sum(one.updates for one in done)} updates make of the first release"
    print_result("recompute", {"releases": [asdict(one) for one in done]}, as_json=as_json, human=human)
