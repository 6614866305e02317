"""Prometheus families of the store and the workers, from one snapshot."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from explaind_jobs.store.records import StoreStats, WorkerState
from explaind_service.metrics import names
from explaind_service.metrics.names import MetricName

Counters = Mapping[tuple[str, ...], float]


@dataclass(frozen=True)
class StoreSight:
    """Snapshot of the store: its state and the live workers."""

    stats: StoreStats
    workers: Sequence[WorkerState]


def store_families(seen: StoreSight | None) -> Iterator[Metric]:
    """The families of a snapshot; None stands for a store that does not answer."""
    yield _plain(names.STORE_UP, 0 if seen is None else 1)
    if seen is None:
        return
    stats, workers = seen.stats, seen.workers
    yield from (_counted(metric, stats.counters) for metric in names.STORE_COUNTERS)
    yield from (_histogram(metric, stats.counters) for metric in names.STORE_HISTOGRAMS)
    yield _family(names.QUEUE_DEPTH, {labels: float(depth) for labels, depth in stats.depths.items()})
    yield _plain(names.QUEUE_BYTES, stats.waiting_bytes)
    yield _family(names.QUEUE_OLDEST, {(queue,): age for queue, age in stats.ages.items()})
    yield _plain(names.JOBS_RUNNING, stats.running)
    yield _plain(names.OUTBOX, stats.outbox)
    yield _plain(names.WORKERS, len(workers))
    yield _family(names.WORKER_SLOTS, {(worker.name,): worker.slots for worker in workers})
    yield _family(names.WORKER_MODELS, {labels: 1.0 for worker in workers for labels in _models(worker)})
    yield from (_told(metric, workers) for metric in names.WORKER_GAUGES)


def _models(worker: WorkerState) -> Iterator[tuple[str, str, str]]:
    for state, models in (("ready", worker.models), ("loading", worker.loading)):
        for model in models:
            yield worker.name, model, state


def _told(metric: MetricName, workers: Sequence[WorkerState]) -> Metric:
    values = {(w.name,): w.gauges[metric.key] for w in workers if metric.key in w.gauges}
    return _family(metric, values)


def _counted(metric: MetricName, counters: Counters) -> Metric:
    width = len(metric.labels)
    values = {name[1:]: value for name, value in counters.items() if name[0] == metric.key and len(name) == width + 1}
    return _family(metric, values or ({} if width else {(): 0.0}))


def _histogram(metric: MetricName, counters: Counters) -> Metric:
    """Cumulative buckets, as Prometheus wants them, from the store's separate counts."""
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    buckets: dict[tuple[str, ...], dict[float, float]] = defaultdict(lambda: dict.fromkeys(names.JOB_BUCKETS, 0.0))
    for (name, *labels), value in counters.items():
        if name == f"{metric.key}_bucket" and len(labels) == len(metric.labels) + 1:
            *what, bound = labels
            buckets[tuple(what)][float(bound)] = value
    for what, counts in sorted(buckets.items()):
        counts.setdefault(float("inf"), 0.0)
        so_far, cumulative = 0.0, []
        for bound, count in sorted(counts.items()):
            so_far += count
            cumulative.append((floatToGoString(bound), so_far))
        family.add_metric(what, cumulative, counters.get((f"{metric.key}_sum", *what), 0.0))
    return family


def _plain(metric: MetricName, value: float) -> Metric:
    return _family(metric, {(): float(value)})


def _family(metric: MetricName, values: Mapping[tuple[str, ...], float]) -> Metric:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family
