"""What the dashboards show: panels with their questions to Prometheus. ``generate.py`` makes Grafana's JSON of it.

``ON_NO_PANEL`` names the metrics that no panel shows, each with the reason; a test holds the catalogues against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ON_NO_PANEL: dict[str, str] = {}

Kind = Literal["timeseries", "stat", "bargauge", "table", "state-timeline", "histogram"]


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        asks: (PromQL, legend) each. ``$instance`` is the coordinator that is looked at.
        unit: as Grafana calls it. wide: of 24 columns. tall: in Grafana's steps.
        red: thresholds turn red from this value on; None for none. about: shown behind the i.
    """

    title: str
    asks: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: Kind = "timeseries"
    wide: int = 8
    tall: int = 7
    red: float | None = None
    about: str = ""
    stacked: bool = False


def stat(title: str, ask: str, unit: str = "short", legend: str = "", *, red: float | None = None) -> Panel:
    return Panel(title, ((ask, legend),), unit, "stat", wide=4, tall=4, red=red)


IT = '{instance=~"$instance"}'


def rate(metric: str, by: str = "", span: str = "$__rate_interval", where: str = IT) -> str:
    inner = f"rate({metric}{where}[{span}])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def quantile(share: float, metric: str, by: str = "", span: str = "1d") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (increase({metric}_bucket{IT}[{span}])))"


RUN = (
    stat("Newest release", f"barnraise_release_info{IT}", legend="{{version}}"),
    stat("Age of the release", f"instance:barnraise_release_age_seconds:now{IT}", "s", red=6 * 3600),
    stat("Round", f"barnraise_round_number{IT}"),
    stat("Contributors live", f"barnraise_contributors_live{IT}"),
    stat("Times fewer bytes up", f"instance:barnraise_update_bytes:saved_ratio{IT}", "none"),
    stat("Times fewer bytes down", f"instance:barnraise_release_bytes:saved_ratio{IT}", "none"),
    Panel(
        "Mean of each test at the newest release",
        ((f"barnraise_test_mean{IT}", "{{test}} ({{unit}})"),),
        wide=12,
        tall=9,
    ),
    Panel(
        "Effect on each test in the newest verdict, with its interval",
        ((f"barnraise_test_effect{IT}", "{{test}} {{bound}}"),),
        wide=12,
        tall=9,
        about="Candidate minus base. Which way is better is the test's own.",
    ),
    Panel(
        "Phase of the round",
        ((f"barnraise_round_phase{IT} == 1", "{{phase}}"),),
        kind="state-timeline",
        wide=12,
    ),
    Panel(
        "How rounds ended, a day",
        ((f"sum by (outcome) (increase(barnraise_rounds_total{IT}[1d]))", "{{outcome}}"),),
        stacked=True,
        wide=6,
    ),
    Panel(
        "Releases, a day",
        ((f"sum by (bump) (increase(barnraise_releases_total{IT}[1d]))", "{{bump}}"),),
        stacked=True,
        wide=6,
    ),
    Panel(
        "Verdicts, a day",
        (
            (f"sum by (passed) (increase(barnraise_candidates_tested_total{IT}[1d]))", "candidate passed: {{passed}}"),
            (
                'sum by (test) (increase(barnraise_test_verdicts_total{instance=~"$instance", passed="no"}[1d]))',
                "{{test}} not passed",
            ),
        ),
    ),
    Panel(
        "Hidden examples left, and wanted by one draw",
        (
            (f"barnraise_test_hidden_left{IT}", "{{test}} left"),
            (f"barnraise_test_hidden_wanted{IT}", "{{test}} wanted"),
        ),
    ),
    Panel("Channels", ((f"barnraise_channel_info{IT}", ""),), kind="table"),
    Panel(
        "Moves and probes of channels, a day",
        (
            (f"sum by (channel) (increase(barnraise_channel_moves_total{IT}[1d]))", "{{channel}} moved"),
            (
                f"sum by (channel, passed) (increase(barnraise_channel_probes_total{IT}[1d]))",
                "{{channel}} probed, passed: {{passed}}",
            ),
        ),
    ),
    Panel(
        "Operators' orders",
        (
            (f"barnraise_orders_waiting{IT}", "waiting"),
            (f"sum by (outcome) (increase(barnraise_orders_total{IT}[1d]))", "{{outcome}}, a day"),
            (f"barnraise_releases_yanked{IT}", "yanked releases"),
        ),
    ),
    Panel(
        "Rounds in a row that ended alike",
        ((f"barnraise_rounds_in_a_row{IT}", "{{outcome}}"), (f"barnraise_suite_failures{IT}", "suite cannot run")),
    ),
)

FLEET = (
    stat("Contributors ever", f"barnraise_contributors{IT}"),
    stat("Live", f"barnraise_contributors_live{IT}"),
    stat("Banned", f"barnraise_contributors_banned{IT}"),
    stat("Leases out", f"barnraise_leases_open{IT}"),
    stat("Largest share of one key", f"barnraise_contributor_share_max_ratio{IT}", "percentunit", red=0.5),
    stat("Rejected, last hour", f"instance:barnraise_update_rejected:ratio_1h{IT}", "percentunit", red=0.3),
    Panel(
        "Updates by what becomes of them, an hour",
        (
            (
                'sum by (state, reason) (increase(barnraise_update_moves_total{instance=~"$instance", '
                'state!~"checked"}[1h])) > 0',
                "{{state}} {{reason}}",
            ),
        ),
        wide=12,
        tall=9,
        stacked=True,
    ),
    Panel("Updates now", ((f"barnraise_updates{IT}", "{{state}}"),), wide=6, tall=9),
    Panel(
        "Leases given, an hour",
        ((f"sum(increase(barnraise_leases_total{IT}[1h]))", "leases"),),
        wide=6,
        tall=9,
    ),
    Panel(
        "Bytes received, against dense",
        (
            (rate("barnraise_update_received_bytes_total"), "received"),
            (rate("barnraise_update_dense_bytes_total"), "as whole models"),
        ),
        "Bps",
        about="What the same updates would have cost as float32 models.",
    ),
    Panel(
        "Tokens and steps that contributors state",
        ((rate("barnraise_update_tokens_total"), "tokens"), (rate("barnraise_update_steps_total"), "steps")),
        "ops",
    ),
    Panel(
        "Clocks of contributors",
        ((f"barnraise_contributor_clock_offset_seconds{IT}", "{{stat}}"),),
        "s",
        about="Receipt minus signed time; uploading takes some of it. Negative: their clock is ahead.",
    ),
    Panel(
        "Own volunteers: what their time goes into",
        (("sum by (activity) (rate(barnraise_node_activity_seconds_total[$__rate_interval]))", "{{activity}}"),),
        "percentunit",
        stacked=True,
    ),
    Panel(
        "Own volunteers: training loss, progress",
        (
            ("barnraise_node_loss", "{{node}} {{instance}} loss"),
            ("barnraise_node_unit_progress_ratio", "{{node}} {{instance}} unit done"),
        ),
    ),
    Panel(
        "Own volunteers: steps, tokens, units",
        (
            ("sum(rate(barnraise_node_steps_total[$__rate_interval]))", "steps"),
            ("sum(rate(barnraise_node_tokens_total[$__rate_interval]))", "tokens"),
            ("sum(rate(barnraise_node_units_total[$__rate_interval]))", "units"),
            ("sum(rate(barnraise_node_receipts_total[$__rate_interval]))", "receipts"),
        ),
        "ops",
    ),
    Panel(
        "Own volunteers: bytes",
        (
            ("sum(rate(barnraise_node_pulled_bytes_total[$__rate_interval]))", "pulled"),
            ("sum(rate(barnraise_node_sent_bytes_total[$__rate_interval]))", "sent"),
            ("sum(rate(barnraise_node_dense_bytes_total[$__rate_interval]))", "as whole models"),
        ),
        "Bps",
    ),
    Panel(
        "Own volunteers: what became of updates",
        (("sum by (fate) (increase(barnraise_node_fates_total[1d])) > 0", "{{fate}}"),),
        stacked=True,
    ),
    Panel("Own volunteers: GPUs busy", (("barnraise_node_gpu_busy_ratio", "{{instance}} GPU {{gpu}}"),), "percentunit"),
    Panel(
        "Own volunteers: GPU memory", (("barnraise_node_gpu_memory_used_bytes", "{{instance}} GPU {{gpu}}"),), "bytes"
    ),
    Panel(
        "Own volunteers: now",
        (("barnraise_node_activity == 1", "{{node}} {{activity}}"), ("barnraise_node_info", "{{run}} {{version}}")),
        kind="table",
        wide=24,
    ),
)

ENGINE = (
    stat("Conductor heard from", f"time() - barnraise_conductor_beat_timestamp_seconds{IT}", "s", red=300),
    stat("Conductor up", f"time() - barnraise_conductor_start_timestamp_seconds{IT}", "s"),
    stat("Phase for", f"barnraise_round_phase_age_seconds{IT}", "s"),
    stat("Updates in the newest merge", f"barnraise_merge_updates{IT}"),
    stat("Of them clipped", f"barnraise_merge_clipped{IT}"),
    stat("Rounds opened", f"barnraise_rounds_opened_total{IT}"),
    Panel(
        "Merging and testing, of the last day",
        (
            (quantile(0.5, "barnraise_merge_seconds"), "merge, median"),
            (f"instance:barnraise_merge_seconds:p95_1d{IT}", "merge, 95%"),
            (quantile(0.5, "barnraise_test_seconds"), "test, median"),
            (f"instance:barnraise_test_seconds:p95_1d{IT}", "test, 95%"),
        ),
        "s",
    ),
    Panel(
        "Phases of rounds, median of the last day",
        ((quantile(0.5, "barnraise_round_phase_duration_seconds", "phase"), "{{phase}}"),),
        "s",
    ),
    Panel(
        "From receiving an update to the end of its check",
        (
            (quantile(0.5, "barnraise_update_check_wait_seconds"), "median"),
            (quantile(0.95, "barnraise_update_check_wait_seconds"), "95%"),
        ),
        "s",
    ),
    Panel(
        "How the updates of the newest merge agree",
        ((f"barnraise_merge_agreement_ratio{IT}", "{{measure}}"),),
        about="Opposed: share of what two updates both change that they change in opposite directions. "
        "Half is what updates have that know nothing of each other.",
    ),
    Panel("Ray tasks", ((f"barnraise_ray_tasks{IT}", "{{state}}"),)),
    Panel("Ray nodes", ((f"barnraise_ray_nodes{IT}", "alive: {{alive}}"),)),
    Panel(
        "Ray CPUs and GPUs",
        (('barnraise_ray_resources{instance=~"$instance", resource=~"cpu|gpu"}', "{{resource}} {{state}}"),),
    ),
    Panel(
        "Ray memory",
        (('barnraise_ray_resources{instance=~"$instance", resource!~"cpu|gpu"}', "{{resource}} {{state}}"),),
        "bytes",
    ),
    Panel(
        "Ray nodes' processors, from Ray's own metrics",
        (("ray_node_cpu_utilization", "{{instance}}"),),
        "percent",
        about="Of the scrape job `ray`.",
    ),
)

STORE = (
    stat("Disk free", f"barnraise_disk_free_bytes{IT}", "bytes"),
    stat("Disk full in", f"barnraise_disk_full_forecast_seconds{IT}", "s"),
    stat("Ledger", f"barnraise_ledger_size_bytes{IT}", "bytes"),
    stat("Last backup", f"time() - barnraise_backup_timestamp_seconds{IT}", "s", red=2 * 86400),
    stat("Ledger readable", f"barnraise_ledger_readable{IT}"),
    stat("Version", f"barnraise_build_info{IT}", legend="{{version}} on Python {{python}}"),
    Panel("Size of the run's parts", ((f"barnraise_store_size_bytes{IT}", "{{part}}"),), "bytes", stacked=True),
    Panel("Files of the run's parts", ((f"barnraise_store_files{IT}", "{{part}}"),)),
    Panel(
        "Disk, and what it will be in a day",
        (
            (f"barnraise_disk_free_bytes{IT}", "free"),
            (f"instance:barnraise_disk_free_bytes:in_24h{IT}", "free in a day"),
            (f"barnraise_disk_size_bytes{IT}", "size"),
        ),
        "bytes",
    ),
    Panel(
        "Bytes of patches, against whole models, a day",
        (
            (f"sum(increase(barnraise_release_patch_bytes_total{IT}[1d]))", "patches"),
            (f"sum(increase(barnraise_release_dense_bytes_total{IT}[1d]))", "as whole models"),
        ),
        "bytes",
    ),
    Panel(
        "Signed metadata expires in",
        ((f"barnraise_metadata_expiry_timestamp_seconds{IT} - time()", "{{role}}"),),
        "s",
    ),
    Panel(
        "Releases: age of the newest",
        ((f"time() - barnraise_release_created_timestamp_seconds{IT}", "age"),),
        "s",
    ),
    Panel(
        "Requests by route",
        ((rate("barnraise_http_requests_total", "route, status"), "{{route}} {{status}}"),),
        "reqps",
    ),
    Panel(
        "Time to the first byte, 95%",
        (
            (f"instance:barnraise_http_request_seconds:p95_5m{IT}", "all"),
            (quantile(0.95, "barnraise_http_request_seconds", "route", "5m"), "{{route}}"),
        ),
        "s",
    ),
    Panel(
        "Errors",
        (
            (f"instance:barnraise_http_errors:ratio_5m{IT}", "share that is ours"),
            (rate("barnraise_http_refusals_total", "code"), "{{code}}"),
        ),
    ),
    Panel("Bytes sent by route", ((rate("barnraise_http_sent_bytes_total", "route"), "{{route}}"),), "Bps"),
    Panel(
        "Queues",
        (
            (f"barnraise_uploads_staged{IT}", "uploads under way"),
            ('barnraise_updates{instance=~"$instance", state="received"}', "updates to check"),
            (f"barnraise_http_requests_in_progress{IT}", "requests"),
            (f"barnraise_ledger_unread_events{IT}", "events to take in"),
        ),
    ),
    Panel("Events in the ledger", ((rate("barnraise_ledger_events_total"), "a second"),), "ops"),
    Panel(
        "Notifications, a day",
        (
            (
                f"sum by (target, outcome) (increase(barnraise_notifications_total{IT}[1d]))",
                "{{target}} {{outcome}}",
            ),
        ),
    ),
)

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "run": ("Barnraise: run", RUN),
    "fleet": ("Barnraise: fleet", FLEET),
    "merge-engine": ("Barnraise: merge engine", ENGINE),
    "store": ("Barnraise: store and gateway", STORE),
}
