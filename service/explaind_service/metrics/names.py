"""Every metric by name, kind, help and labels, in one table: /metrics, the docs and the dashboard's test read it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
# Source of a value: the counters of the store's scripts, the current state of the store, a worker's heartbeat, or
# this process.
Source = Literal["store counter", "store", "worker", "process"]


@dataclass(frozen=True, slots=True)
class MetricName:
    """One metric. `key` is its name at the source, where it is looked up by name."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    source: Source = "store"
    key: str = ""

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of its samples."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))


# The same as BUCKETS in common.lua.
JOB_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)
HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

STORE_UP = MetricName("explaind_store_up", "gauge", "1 while the job store answers, else 0.")
QUEUE_DEPTH = MetricName("explaind_queue_depth", "gauge", "Jobs that wait.", ("queue", "model"))
QUEUE_BYTES = MetricName(
    "explaind_queue_bytes", "gauge", "Bytes of the requests that wait; EXPLAIND_MAX_QUEUED_BYTES bounds them."
)
QUEUE_OLDEST = MetricName(
    "explaind_queue_oldest_seconds", "gauge", "Seconds that the oldest job of the queue has waited.", ("queue",)
)
JOBS_RUNNING = MetricName("explaind_jobs_running", "gauge", "Jobs that a worker holds.")
OUTBOX = MetricName("explaind_webhook_outbox", "gauge", "Webhooks that wait for delivery.")
WORKERS = MetricName("explaind_workers", "gauge", "Live workers.")
WORKER_SLOTS = MetricName("explaind_worker_slots", "gauge", "Jobs that the worker runs at a time.", ("worker",))
WORKER_MODELS = MetricName(
    "explaind_worker_models",
    "gauge",
    "1 for each model that the worker holds (ready) or is getting (loading).",
    ("worker", "model", "state"),
)

STORE_COUNTERS = (
    MetricName(
        "explaind_jobs_submitted_total",
        "counter",
        "Accepted jobs, those answered from the cache too.",
        ("method", "model"),
        "store counter",
        "submitted",
    ),
    MetricName(
        "explaind_jobs_finished_total",
        "counter",
        "Jobs that ended, by how: succeeded, failed, cancelled or expired.",
        ("method", "model", "state"),
        "store counter",
        "finished",
    ),
    MetricName(
        "explaind_files_kept_total",
        "counter",
        "Datasets that were uploaded and artifacts that jobs left.",
        ("kind",),
        "store counter",
        "files_kept",
    ),
    MetricName(
        "explaind_jobs_lost_total",
        "counter",
        "Times that a worker was lost while it ran a job.",
        ("method",),
        "store counter",
        "lost",
    ),
    MetricName(
        "explaind_jobs_fenced_total",
        "counter",
        "Results refused because a newer attempt owned the job.",
        (),
        "store counter",
        "fenced",
    ),
    MetricName(
        "explaind_rate_limited_total",
        "counter",
        "Requests refused by the rate limit of their key.",
        (),
        "store counter",
        "rate_limited",
    ),
    MetricName(
        "explaind_cache_hits_total",
        "counter",
        "Jobs answered from the cache: nothing was computed.",
        ("method",),
        "store counter",
        "cache_hits",
    ),
    MetricName(
        "explaind_tokens_total",
        "counter",
        "Tokens that went through the model's blocks, padding included.",
        ("model",),
        "store counter",
        "tokens",
    ),
)

STORE_HISTOGRAMS = (
    MetricName(
        "explaind_job_seconds",
        "histogram",
        "Seconds from the start of a job's last attempt to its end.",
        ("method",),
        "store counter",
        "job_seconds",
    ),
    MetricName(
        "explaind_queued_seconds",
        "histogram",
        "Seconds from the acceptance of a job to the start of an attempt.",
        ("method",),
        "store counter",
        "queued_seconds",
    ),
)

# Gauges that a worker's heartbeat may contain; others are not shown.
WORKER_GAUGES = (
    MetricName(
        "explaind_worker_memory_bytes",
        "gauge",
        "Bytes that the models in the worker's memory take up.",
        ("worker",),
        "worker",
        "memory_bytes_used",
    ),
    MetricName(
        "explaind_worker_memory_budget_bytes",
        "gauge",
        "Bytes that models may take up.",
        ("worker",),
        "worker",
        "memory_bytes_budget",
    ),
    MetricName(
        "explaind_worker_model_loads_total",
        "counter",
        "Models loaded since the worker started.",
        ("worker",),
        "worker",
        "model_loads",
    ),
    MetricName(
        "explaind_worker_model_evictions_total",
        "counter",
        "Models evicted to make room since the worker started.",
        ("worker",),
        "worker",
        "model_evictions",
    ),
    MetricName(
        "explaind_worker_out_of_memory_total",
        "counter",
        "Times that the device ran out of memory since the worker started.",
        ("worker",),
        "worker",
        "out_of_memory",
    ),
)

BUILD_INFO = MetricName("explaind_build_info", "gauge", "1, by version of the service.", ("version",), "process")
HTTP_REQUESTS = MetricName(
    "explaind_http_requests_total",
    "counter",
    "Requests answered, by the route's template; status 499: the caller left before the answer began.",
    ("method", "route", "status"),
    "process",
)
HTTP_SECONDS = MetricName(
    "explaind_http_request_seconds",
    "histogram",
    "Seconds from a request to the end of its answer; waits that the caller asked for are part of them.",
    ("method", "route"),
    "process",
)
HTTP_IN_FLIGHT = MetricName("explaind_http_requests_in_flight", "gauge", "Requests being answered.", (), "process")

ALL: tuple[MetricName, ...] = (
    STORE_UP,
    *STORE_COUNTERS,
    *STORE_HISTOGRAMS,
    QUEUE_DEPTH,
    QUEUE_BYTES,
    QUEUE_OLDEST,
    JOBS_RUNNING,
    OUTBOX,
    WORKERS,
    WORKER_SLOTS,
    WORKER_MODELS,
    *WORKER_GAUGES,
    BUILD_INFO,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    HTTP_IN_FLIGHT,
)
