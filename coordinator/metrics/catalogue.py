"""Every metric of a coordinator: what it is called, which labels it has, and what it means.

docs/metrics.md is made from this list, the dashboards are held against it, and the exporter refuses
to show what is not on it. ``at_most`` bounds the number of series whatever strangers do: no label
holds a key, a name, a digest, a path or a reason in words.
"""

from __future__ import annotations

from typing import Literal, get_args

from barnraise.metric import Metric
from barnraise.protocol import Phase, UpdateState

__all__ = ["BOUNDS_S", "CATALOGUE", "MOVES", "NAMES_MAX", "OUTCOMES", "PHASES", "REASONS", "STATES"]

PHASES = get_args(Phase)
OUTCOMES = PHASES[3:]
STATES = get_args(UpdateState)
REASONS = {
    "rejected": ("harmful", "malformed", "culprit", "banned", "other"),
    "unmerged": ("late", "unchecked", "quarantine", "round-rejected", "round-abandoned", "other"),
}
"""Why an update was not merged, in one word; the sentence is in the ledger."""

MOVES = tuple((state, reason) for state in STATES for reason in REASONS.get(state, ("none",)))

NAMES_MAX = 64
"""So many tests, channels or targets of notifications have series of their own; later ones are ``other``."""

BOUNDS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0)
REQUEST_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROUTES_MAX = 128

Source = Literal["ledger", "folder", "conductor", "process", "node"]


def _counter(source: Source, name: str, meaning: str, *labels: str, at_most: int = 1) -> Metric:
    return Metric(f"barnraise_{name}_total", "counter", meaning, source, labels, at_most=at_most)


def _gauge(source: Source, name: str, meaning: str, *labels: str, at_most: int = 1) -> Metric:
    return Metric(f"barnraise_{name}", "gauge", meaning, source, labels, at_most=at_most)


def _seconds(source: Source, name: str, meaning: str, *labels: str, at_most: int = 1) -> Metric:
    bounds = REQUEST_BOUNDS_S if source == "process" else BOUNDS_S
    return Metric(f"barnraise_{name}_seconds", "histogram", meaning, source, labels, bounds, at_most)


ROUNDS = (
    _gauge("ledger", "round_number", "Number of the newest round."),
    _gauge("ledger", "round_phase", "1 for the newest round's phase.", "phase", at_most=len(PHASES)),
    _gauge("ledger", "round_phase_age_seconds", "Since the newest round last moved."),
    _counter("ledger", "rounds_opened", "Rounds opened."),
    _counter("ledger", "rounds", "Rounds that ended, by how.", "outcome", at_most=len(OUTCOMES)),
    _gauge("ledger", "rounds_in_a_row", "The newest ended rounds that ended alike, by how.", "outcome", at_most=3),
    _seconds("ledger", "round_phase_duration", "How long rounds stayed in a phase.", "phase", at_most=3),
    _seconds("ledger", "merge", "Time of merging a round's updates into a candidate."),
    _seconds("ledger", "test", "Time of running the acceptance tests on a candidate."),
    _gauge("ledger", "suite_failures", "How often in a row the suite could not be run for the newest round."),
    _gauge("ledger", "merge_updates", "Updates in the newest merge."),
    _gauge("ledger", "merge_clipped", "Updates in the newest merge that were shortened to the clipping norm."),
    _gauge(
        "ledger",
        "merge_agreement_ratio",
        "How the newest merge's updates agree: cosine, overlap, and the opposed share of the overlap.",
        "measure",
        at_most=3,
    ),
)

UPDATES = (
    _gauge("ledger", "updates", "Updates by what is true of them now.", "state", at_most=len(STATES)),
    _counter(
        "ledger",
        "update_moves",
        "Updates that came into a state, and why in one word.",
        "state",
        "reason",
        at_most=len(MOVES),
    ),
    _counter("ledger", "update_received_bytes", "Bytes of all updates received."),
    _counter("ledger", "update_dense_bytes", "Bytes that the same updates would have had as whole float32 models."),
    _counter("ledger", "update_tokens", "Tokens of all updates, as stated where lease and clock make it plausible."),
    _counter("ledger", "update_steps", "Optimiser steps of all updates, as stated, and no more than were leased."),
    _seconds("ledger", "update_check_wait", "From receiving an update to the end of its check."),
)

CONTRIBUTORS = (
    _counter("ledger", "leases", "Leases given."),
    _gauge("ledger", "leases_open", "Leases that may still bring an update."),
    _gauge("ledger", "contributors", "Keys that ever asked for work."),
    _gauge("ledger", "contributors_live", "Keys that got a lease or delivered within the last hour."),
    _gauge("ledger", "contributors_banned", "Keys that may not contribute."),
    _gauge("ledger", "contributor_share_max_ratio", "Largest share of one key in the last 100 merged updates."),
    _gauge(
        "ledger",
        "contributor_clock_offset_seconds",
        "Receipt minus signed time of live contributors' last updates: uploading takes some of it, negative is ahead.",
        "stat",
        at_most=3,
    ),
)

RELEASES = (
    _counter("ledger", "releases", "Releases tagged, by which part of the version moved.", "bump", at_most=5),
    _gauge("ledger", "releases_yanked", "Releases that no range chooses."),
    _gauge("ledger", "release_info", "1, with the newest release's version.", "version", "bump"),
    _gauge("ledger", "release_created_timestamp_seconds", "When the newest release was made."),
    _counter("ledger", "release_patch_bytes", "Bytes of all patches."),
    _counter("ledger", "release_dense_bytes", "Bytes that the patched releases would have had as whole models."),
    _gauge("ledger", "channel_info", "1, with where each channel is.", "channel", "version", at_most=NAMES_MAX + 1),
    _counter("ledger", "channel_moves", "Moves of a channel.", "channel", at_most=NAMES_MAX + 1),
    _counter(
        "ledger",
        "channel_probes",
        "Probes of a channel after it moved; not passed moved it back.",
        "channel",
        "passed",
        at_most=2 * (NAMES_MAX + 1),
    ),
    _gauge("ledger", "orders_waiting", "Operators' orders that are not settled."),
    _counter("ledger", "orders", "Operators' orders settled: done or refused.", "outcome", at_most=2),
)

TESTS = (
    _counter("ledger", "candidates_tested", "Candidates with a verdict.", "passed", at_most=2),
    _counter("ledger", "test_verdicts", "Verdicts of each test.", "test", "passed", at_most=2 * (NAMES_MAX + 1)),
    _gauge(
        "ledger",
        "test_effect",
        "Candidate minus base in the newest verdict, with the ends of its interval.",
        "test",
        "unit",
        "bound",
        at_most=3 * NAMES_MAX,
    ),
    _gauge("ledger", "test_mean", "Mean of each test at the newest release.", "test", "unit", at_most=NAMES_MAX),
    _gauge(
        "ledger", "test_hidden_left", "Hidden examples that may still be drawn, of a test.", "test", at_most=NAMES_MAX
    ),
    _gauge(
        "ledger", "test_hidden_wanted", "Hidden examples that one draw takes, of a test.", "test", at_most=NAMES_MAX
    ),
)

NOTIFICATIONS = (
    _counter(
        "ledger",
        "notifications",
        "Notifications that were delivered or given up.",
        "target",
        "outcome",
        at_most=2 * (NAMES_MAX + 1),
    ),
)

LEDGER = (
    _counter("ledger", "ledger_events", "Events in the ledger."),
    Metric(
        "barnraise_ledger_unread_events",
        "gauge",
        "Events that this process has not taken in yet; above 0 what comes from the ledger is not shown.",
        "process",
    ),
    _gauge("process", "ledger_readable", "Whether the ledger could be read for this scrape."),
    _gauge("folder", "ledger_size_bytes", "Size of the ledger's files."),
)

FOLDER = (
    _gauge("folder", "disk_free_bytes", "Free space where the run lies."),
    _gauge("folder", "disk_size_bytes", "Size of the file system where the run lies."),
    _gauge(
        "folder",
        "disk_full_forecast_seconds",
        "Until the disk is full if updates and patches come as in the last day; +Inf if none came.",
    ),
    _gauge("folder", "store_size_bytes", "Size of a part of the run folder.", "part", at_most=6),
    _gauge("folder", "store_files", "Files in a part of the run folder.", "part", at_most=6),
    _gauge("folder", "uploads_staged", "Uploads that are not complete."),
    _gauge(
        "folder",
        "metadata_expiry_timestamp_seconds",
        "When a role's signed release metadata expires.",
        "role",
        at_most=6,
    ),
    _gauge("folder", "backup_timestamp_seconds", "When the run was last backed up; absent without a backup."),
)

CONDUCTOR = (
    _gauge("conductor", "conductor_beat_timestamp_seconds", "The conductor's last sign of life."),
    _gauge("conductor", "conductor_start_timestamp_seconds", "When the conductor's process began."),
    _gauge("conductor", "ray_nodes", "Machines of the Ray cluster.", "alive", at_most=2),
    _gauge(
        "conductor",
        "ray_resources",
        "What the Ray cluster has: CPUs, GPUs, bytes of memory.",
        "resource",
        "state",
        at_most=8,
    ),
    _gauge("conductor", "ray_tasks", "Tasks: with Ray, or held back until there is room.", "state", at_most=2),
)

PROCESS = (
    _gauge("process", "build_info", "1, with the version of Barnraise and of Python.", "version", "python"),
    _counter(
        "process",
        "http_requests",
        "Requests answered by this process.",
        "method",
        "route",
        "status",
        at_most=ROUTES_MAX * 40,
    ),
    _seconds("process", "http_request", "Time to the first byte of an answer.", "route", at_most=ROUTES_MAX),
    _counter("process", "http_sent_bytes", "Bytes of answers' bodies.", "route", at_most=ROUTES_MAX),
    _counter("process", "http_refusals", "Errors answered, by their code.", "code", at_most=ROUTES_MAX),
    _gauge("process", "http_requests_in_progress", "Requests that are being answered."),
)

CATALOGUE: tuple[Metric, ...] = (
    *ROUNDS,
    *UPDATES,
    *CONTRIBUTORS,
    *RELEASES,
    *TESTS,
    *NOTIFICATIONS,
    *LEDGER,
    *FOLDER,
    *CONDUCTOR,
    *PROCESS,
)
