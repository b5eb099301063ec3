"""Does ``learned`` keep the owner's other work below its target, and what does the node get done meanwhile?

    python -m benchmarks.governor [--quick] [--jobs steady] [--rounds 3] [--write]

Three jobs that measure their own progress (job.py), each alone and beside three nodes that train the byte model with
every processor at nice 19 (node.py):

    nice       no policy: the system's scheduler decides
    idle       the policy idle: works once the owner has been away for 5 s, as its sensor would see it
    learned    the policy learned, target 5%; it keeps what it has learned from one turn to the next

Job and node are started from two terminals, so to speak (node_process.py).

All of them take turns, so that a disturbance falls on everybody, and every round begins with another (plan.py). A
job's slowdown in a round is its rate alone over its rate beside the node, minus one. A simulated machine, in which
nothing else happens, gives the figures that noise would hide (model.py); a page says which are which.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.governor.model import Machine, bursts, run, steady
from benchmarks.governor.plan import ARMS, JOBS, Planned, minutes, plan
from benchmarks.governor.plot import draw
from benchmarks.node_process import NodeProcess, started
from benchmarks.report import arguments, finish, heading
from contributor.governor.policies.learned import Learned
from contributor.spinning import spin_briefly

HERE = Path(__file__).parent
SETTINGS = {
    "nice": "",
    "idle": "[idle]\nafter_s = 5\n[governor]\nresume_after_s = 0\n",
    "learned": "[learned]\n",
}
Figures = dict[str, dict[str, tuple[list[float], list[float]]]]
SIMULATED_S = 300.0


@dataclass(frozen=True)
class Turn:
    """What a turn came to.

    Attributes:
        number: of the round. rate: of the job. wait: for a processor, as a share of the processor time it got.
        steps_per_min: of the node. reason: that its policies gave last.
    """

    number: int
    job: str
    arm: str
    rate: float
    wait: float
    steps_per_min: float
    reason: str


def main() -> None:
    parser = arguments(__doc__, quick="two rounds of the job that never rests")
    parser.add_argument("--rounds", type=int, default=3, help="turns of everybody (3)")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="only these (all)")
    parser.add_argument("--simulated", action="store_true", help="only the simulated machine: for one that is busy")
    options = parser.parse_args()
    jobs = {"steady": 20.0} if options.quick else {job: JOBS[job] for job in options.jobs}
    planned = plan(jobs, 2 if options.quick else options.rounds)
    if not options.simulated:
        print(f"{len(planned)} turns of {', '.join(jobs)}: about {minutes(planned):.0f} minutes", file=sys.stderr)
    lines = heading("The governor beside the owner's other work", "torch")
    simulated, turns = _simulated(), []
    if options.simulated:
        lines += ["Not measured on a real machine in this run; see `python -m benchmarks.governor`.", ""]
    else:
        with tempfile.TemporaryDirectory() as place:
            turns = list(_turns(Path(place), planned))
        lines += [*_measured(turns, jobs), ""]
    page = finish("governor", [*lines, *_table(simulated)], write=options.write)
    if page is not None:
        rows = [vars(turn) for turn in turns] + [{"simulated": True, **row} for row in simulated]
        page.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        figures = _figures(turns) if turns else _simulated_figures(simulated)
        title = "Measured" if turns else "Simulated: nothing here was measured on a real machine"
        draw(figures, page.with_suffix(".png"), title)


def _figures(turns: list[Turn]) -> Figures:
    """Job -> arm -> slowdowns in percent, and steps a minute, of every round."""
    alone = {(turn.job, turn.number): turn.rate for turn in turns if turn.arm == "alone"}
    figures: Figures = {}
    for turn in turns:
        if turn.arm != "alone":
            slow, steps = figures.setdefault(turn.job, {}).setdefault(turn.arm, ([], []))
            slow.append(100 * (alone[turn.job, turn.number] / turn.rate - 1))
            steps.append(turn.steps_per_min)
    return figures


def _simulated_figures(rows: list[dict[str, Any]]) -> Figures:
    return {
        f"{row['job']},\nsteal {row['steal']:.0%}": {
            arm: ([100 * row[arm][0]], [60 * row[arm][1] / SIMULATED_S]) for arm in ("nice", "idle", "learned")
        }
        for row in rows
    }


def _turns(place: Path, planned: list[Planned]) -> Iterator[Turn]:
    """Take them, and give back those of the rounds."""
    presence = place / "presence"
    presence.touch()
    environ = dict(os.environ)
    spin_briefly(environ)  # as `barnraise join` does
    with ExitStack() as stack:
        nodes = {}
        for arm, settings in SETTINGS.items():
            (place / arm).mkdir()
            (place / arm / "policies.toml").write_text(settings)
            command = ["-m", "benchmarks.governor.node", str(place / arm), str(presence)]
            nodes[arm] = stack.enter_context(started(command, environ))
        for one in planned:
            turn = _turn(one, nodes.get(one.arm), presence)
            print(json.dumps(vars(turn)), file=sys.stderr, flush=True)
            if one.number >= 0:
                yield turn


def _turn(planned: Planned, node: NodeProcess | None, presence: Path) -> Turn:
    """The job once, beside a node or alone. Its owner has just sat down."""
    presence.touch()
    if node is not None:
        node.tell("go")
    command = [sys.executable, str(HERE / "job.py"), planned.job, str(planned.seconds), str(presence)]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    done: dict[str, Any] = {}
    if node is not None:
        node.tell("stop")
        done = node.answer()
    return Turn(
        planned.number,
        planned.job,
        planned.arm,
        rate=told["rate"],
        wait=told["wait_s"] / told["cpu_s"],
        steps_per_min=60 * done["steps"] / done["wall_s"] if done else 0.0,
        reason=done.get("reason", ""),
    )


def _measured(turns: list[Turn], jobs: dict[str, float]) -> list[str]:
    lines = [
        "Measured on this machine. Slowdown of the job: median over rounds, and the range; the job's waiting for a",
        "processor, as a share of what it got, is what the kernel counted. Steps of the node a minute: median.",
        "",
        "| job | node | slowdown | range | waiting | steps a minute |",
        "|---|---|---|---|---|---|",
    ]
    for job in jobs:
        alone = {turn.number: turn.rate for turn in turns if (turn.job, turn.arm) == (job, "alone")}
        for arm in ARMS:
            mine = [turn for turn in turns if (turn.job, turn.arm) == (job, arm)]
            slow = [alone[turn.number] / turn.rate - 1 for turn in mine]
            waited = statistics.median(turn.wait for turn in mine)
            steps = statistics.median(turn.steps_per_min for turn in mine)
            told = "-" if arm == "alone" else f"{statistics.median(slow):.1%}"
            spread = "-" if arm == "alone" else f"{min(slow):.1%} to {max(slow):.1%}"
            lines.append(f"| {job} | {arm} | {told} | {spread} | {waited:.1%} | {steps:.0f} |")
    spread = {job: [turn.rate for turn in turns if (turn.job, turn.arm) == (job, "alone")] for job in jobs}
    noise = "; ".join(f"{job} {max(rates) / min(rates) - 1:.0%}" for job, rates in spread.items())
    return [*lines, "", f"Noise: between its fastest and slowest turn alone, a job differs by: {noise}."]


def _simulated() -> list[dict[str, Any]]:
    """Slowdown and steps of three nodes beside three jobs, on simulated machines that differ in what a node takes."""
    jobs = {
        "one thread": (steady(1), 0.0),
        "every processor": (steady(2), 0.0),
        "bursts": (bursts(1, 15.0, 6.0), 4 / 15),
    }
    rows = []
    for steal in (0.08, 0.12, 0.3, 0.5):
        machine = Machine(steal=steal)
        free = run(machine, steady(0), None, seconds=SIMULATED_S).steps
        for name, (job, away) in jobs.items():
            alone = run(machine, job, None, seconds=SIMULATED_S, node=False).owner_s
            row: dict[str, Any] = {"job": name, "steal": steal, "idle": (0.0, round(free * away))}
            for arm, policy in (("nice", None), ("learned", Learned())):
                outcome = run(machine, job, policy, seconds=SIMULATED_S)
                row[arm] = alone / outcome.owner_s - 1, outcome.steps
            rows.append(row)
    return rows


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"Simulated, {SIMULATED_S:.0f} s, two processors: a thread of the node takes `steal` of a processor that a",
        "thread of the owner's wants whole. No noise, nothing else running, learning included. `idle` begins 5 s after",
        "a burst of 6 s, which comes every 15 s; beside the other jobs it never begins.",
        "",
        "| job | steal | slowdown with nice | with learned | steps with nice | with idle | with learned |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        (nice, nice_steps), (learned, learned_steps), (_, idle_steps) = row["nice"], row["learned"], row["idle"]
        cells = f"{nice:.1%} | {learned:.1%} | {nice_steps} | {idle_steps} | {learned_steps}"
        lines.append(f"| {row['job']} | {row['steal']:.0%} | {cells} |")
    return lines


if __name__ == "__main__":
    main()
