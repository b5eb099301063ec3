"""The demo from the first process to the last line: what happens when.

A coordinator and four volunteers start; after the second release a poisoner joins for one
round; when enough is released the newest version is pulled by range and verified.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from barnraise.config import load_run_config
from barnraise.demo.finale import Finale, pull_and_verify
from barnraise.demo.scene import Scene
from barnraise.demo.screen import Screen
from barnraise.demo.stage import Actor, Stage
from barnraise.errors import AcceptanceError, UnreachableError
from barnraise.run_folder import RunFolder

__all__ = ["DemoPlan", "play"]

VOLUNTEERS = ("ada", "barbara", "grace", "katherine")
POISONER = "mallory"
POLL_S = 0.25


@dataclass(frozen=True)
class DemoPlan:
    """What to play.

    Attributes:
        rounds: rounds that must have ended. releases: tags after the first one that must be there.
        play_for_s: a machine that is fast enough goes on for this long, so that a slow one need not.
        poison_after: releases after which the poisoner joins.
        give_up_after_s: the demo fails when it takes longer.
    """

    config: Path
    folder: Path
    rounds: int = 4
    releases: int = 3
    poison_after: int = 2
    play_for_s: float = 115.0
    give_up_after_s: float = 900.0


def play(plan: DemoPlan, screen: Screen) -> dict[str, Any]:
    """Play the whole demo and return its summary.

    Raises:
        AcceptanceError: the model did not get better, or a supported test got worse.
        NetworkError, StorageError, ReleaseError: something did not work; the reason says what and where to look.
    """
    started_s = time.monotonic()
    stage = Stage()
    logs = plan.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        theatre = _Theatre(plan, stage, screen, Scene())
        theatre.open()
        theatre.until_done()
        stage.leave([*VOLUNTEERS, POISONER], grace_s=15.0)
        screen.tell("volunteers have left; pulling the newest release as a consumer would")
        finale = pull_and_verify(theatre.url, theatre.model, plan.folder / "pulled")
        theatre.learn_of(finale.version)
    finally:
        stage.leave()
    told = summary(theatre.scene, finale, time.monotonic() - started_s, plan.folder)
    if not told["bits_per_byte"]["end"] < told["bits_per_byte"]["start"]:
        raise AcceptanceError(f"the model did not get better: {told['bits_per_byte']}; see the logs in {logs}")
    worse = [release["version"] for release in told["releases"] if not release["non_inferior"]]
    if worse:
        raise AcceptanceError(f"{', '.join(worse)} was tagged with a supported test that is worse; see {logs}")
    return told


class _Theatre:
    """The loop: listen, look at the ledger's events, let actors enter, until enough has happened."""

    def __init__(self, plan: DemoPlan, stage: Stage, screen: Screen, scene: Scene) -> None:
        self.plan, self.stage, self.screen, self.scene = plan, stage, screen, scene
        self.url = ""
        self._seq = 0
        self._http = urllib3.PoolManager(retries=False, timeout=10.0)
        self._start_s = time.monotonic()
        self._poisoned = False

    def open(self) -> None:
        run = RunFolder(self.plan.folder)
        run.address.unlink(missing_ok=True)
        target = str(self.plan.folder) if run.config.exists() else str(self.plan.config)
        arguments = ["-m", "barnraise", "serve", target, "--run", str(self.plan.folder), "--json"]
        self.stage.enter(Actor("coordinator", arguments, self.plan.folder / "logs" / "serve.log"))
        self.screen.tell(f"starting a coordinator in {self.plan.folder}")
        while not self._find_address():
            self._turn()
        self.screen.tell(f"listening on {self.url}; four volunteers join over HTTP")
        for name in VOLUNTEERS:
            self.stage.enter(self._volunteer(name))

    @property
    def model(self) -> str:
        """Name of the run's model, as releases are pulled by."""
        return load_run_config(RunFolder(self.plan.folder).config).name

    def until_done(self) -> None:
        while not self._done():
            self._find_address()
            self._turn()
            self._watch()
            self._maybe_poison()
            self.screen.paint(self.scene)

    def learn_of(self, version: str) -> None:
        """Follow the ledger up to the tag of ``version``, which may have come while volunteers left."""
        while all(release.version != version for release in self.scene.releases):
            self._turn()
            self._watch()

    def _done(self) -> bool:
        scene, plan = self.scene, self.plan
        ended = len(scene.ended) >= plan.rounds and time.monotonic() - self._start_s >= plan.play_for_s
        return ended and len(scene.releases) > plan.releases and any(r["by"] == POISONER for r in scene.rejected)

    def _turn(self) -> None:
        if time.monotonic() - self._start_s > self.plan.give_up_after_s:
            logs = self.plan.folder / "logs"
            raise UnreachableError(
                f"the demo did not finish in {self.plan.give_up_after_s:.0f} s; see the logs in {logs}"
            )
        for line in self.stage.tend():
            self.screen.tell(line)
        for name, event in self.stage.heard():
            if name != "coordinator":
                self.scene = self.scene.heard(name, event)
                self._tell_volunteer(name, event)
        time.sleep(POLL_S)

    def _tell_volunteer(self, name: str, event: Mapping[str, Any]) -> None:
        if event.get("event") == "sent":
            self.screen.tell(
                f"{name}: trained to {event['loss_last']:.3f} bits per byte on {self.scene.volunteers[name].shard}, "
                f"sent {event['bytes']:,} bytes instead of {event['dense_bytes']:,}"
            )

    def _watch(self) -> None:
        try:
            answer = self._http.request("GET", f"{self.url}/v1/events?after={self._seq}&limit=200")
        except urllib3.exceptions.HTTPError:
            return  # it is being started again; the next turn asks again
        if answer.status != 200:
            return
        for event in json.loads(answer.data)["events"]:
            self._seq = event["seq"]
            self.scene, lines = self.scene.happened(event["kind"], event["payload"])
            for line in lines:
                self.screen.tell(line)

    def _maybe_poison(self) -> None:
        enough = len(self.scene.releases) > self.plan.poison_after
        if enough and not self._poisoned and self.scene.phase == "collecting":
            self._poisoned = True
            if any(r["by"] == POISONER for r in self.scene.rejected):
                return
            self.screen.tell(f"{POISONER} joins with a flipped and scaled update, properly signed")
            home = str(self.plan.folder / "volunteers" / POISONER)
            arguments = ["-m", "contributor.poison", self.url, "--home", home, "--name", POISONER, "--json"]
            log = self.plan.folder / "logs" / f"{POISONER}.log"
            self.stage.enter(Actor(POISONER, arguments, log, once=True))

    def _volunteer(self, name: str) -> Actor:
        home = self.plan.folder / "volunteers" / name
        arguments = ["-m", "barnraise", "join", self.url, "--yes", "--name", name, "--home", str(home)]
        arguments += ["--key", str(home / "identity.key"), "--threads", "1", "--json"]
        return Actor(name, arguments, self.plan.folder / "logs" / f"{name}.log")

    def _find_address(self) -> bool:
        self.url = RunFolder(self.plan.folder).listening() or self.url
        return bool(self.url)


def summary(scene: Scene, finale: Finale, seconds: float, folder: Path) -> dict[str, Any]:
    """The machine-readable outcome of a demo. Sizes in bytes, losses in held-out bits per byte."""
    first, last = scene.releases[0], scene.releases[-1]
    return {
        "seconds": round(seconds, 1),
        "folder": str(folder),
        "rounds": len(scene.ended),
        "releases": [
            {
                "version": release.version,
                "bump": release.bump,
                "bits_per_byte": round(release.loss, 4),
                "patch_bytes": release.patch_bytes,
                "non_inferior": release.all_passed,
            }
            for release in scene.releases
        ],
        "bits_per_byte": {"start": round(first.loss, 4), "end": round(last.loss, 4)},
        "rejected": [{"by": r["by"], "digest": r["digest"], "reason": r["reason"]} for r in scene.rejected],
        "sent_bytes": scene.sent_bytes,
        "dense_bytes": scene.dense_bytes,
        "pull": finale.as_json(),
    }
