"""Metrics of this process, and the exposition of all metrics to Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from explaind import __version__
from explaind.contract.errors import StoreUnavailable
from explaind_jobs.store.job_store import AsyncJobStore
from explaind_service.metrics import names
from explaind_service.metrics.families import StoreSight, store_families

# Other methods are counted as OTHER: a caller must not be able to create series at will.
HTTP_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
NO_ROUTE = "none"
CALLER_LEFT = 499


class ServiceMetrics:
    """The metrics of one application, with a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        made, counted, timed, busy = names.BUILD_INFO, names.HTTP_REQUESTS, names.HTTP_SECONDS, names.HTTP_IN_FLIGHT
        Gauge(made.name, made.help, made.labels, registry=self.registry).labels(__version__).set(1)
        self._requests = Counter(counted.name, counted.help, counted.labels, registry=self.registry)
        self._seconds = Histogram(
            timed.name, timed.help, timed.labels, registry=self.registry, buckets=names.HTTP_BUCKETS
        )
        self._in_flight = Gauge(busy.name, busy.help, busy.labels, registry=self.registry)

    def begun(self) -> None:
        """Counts an incoming request."""
        self._in_flight.inc()

    def ended(self, method: str, route: str | None, status: int | None, seconds: float) -> None:
        """Counts a finished request; `status` is None if the caller disconnected before the response began."""
        verb, where = method if method in HTTP_METHODS else "OTHER", route or NO_ROUTE
        self._in_flight.dec()
        self._requests.labels(verb, where, str(status or CALLER_LEFT)).inc()
        self._seconds.labels(verb, where).observe(seconds)

    async def told(self, store: AsyncJobStore, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that `accept` prefers, and its media type.

        If the store does not answer, only the metrics of this process.
        """
        write, media_type = choose_encoder(accept)
        return write(_Both(self.registry, await _seen(store))), media_type


class _Both(Collector):
    """Collector over the registry of this process and one snapshot of the store."""

    def __init__(self, registry: CollectorRegistry, seen: StoreSight | None) -> None:
        self._registry = registry
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        """All metric families."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
        yield from store_families(self._seen)


async def _seen(store: AsyncJobStore) -> StoreSight | None:
    try:
        return StoreSight(await store.stats(), await store.workers())
    except StoreUnavailable:
        return None
