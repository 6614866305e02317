"""The store's counters as Prometheus wants them."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from explaind_jobs.redis_scripts import script
from explaind_jobs.store.records import StoreStats, WorkerState
from explaind_service.metrics import names
from explaind_service.metrics.families import StoreSight, store_families

EMPTY = StoreStats(depths={}, ages={}, running=0, outbox=0, counters={})


def told(stats: StoreStats = EMPTY, *workers: WorkerState) -> dict[str, Metric]:
    return {family.name: family for family in store_families(StoreSight(stats, workers))}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def worker(name: str, **gauges: float) -> WorkerState:
    return WorkerState(name, "1", ["default"], ["demo"], ["big"], 2, datetime.now(UTC), {}, gauges)


def test_the_buckets_are_those_of_the_scripts() -> None:
    lua = (Path(script.__file__).parent / "lua" / "common.lua").read_text(encoding="utf-8")
    found = re.search(r"^local BUCKETS = \{(.*)\}$", lua, re.MULTILINE)
    assert found is not None
    assert tuple(json.loads(f"[{found[1]}]")) == names.JOB_BUCKETS


def test_buckets_are_cumulative() -> None:
    counters = {
        ("job_seconds_bucket", "explain/shap", "0.1"): 3.0,
        ("job_seconds_bucket", "explain/shap", "10"): 2.0,
        ("job_seconds_bucket", "explain/shap", "+Inf"): 1.0,
        ("job_seconds_sum", "explain/shap"): 4000.5,
        ("queued_seconds_bucket", "infer/score", "0.01"): 7.0,
        ("queued_seconds_sum", "infer/score"): 0.02,
    }
    family = told(StoreStats({}, {}, 0, 0, counters))["explaind_job_seconds"]
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert list(buckets) == ["0.01", "0.03", "0.1", "0.3", "1.0", "3.0", "10.0", "30.0", "100.0", "300.0", "1000.0",
                             "3000.0", "+Inf"]  # fmt: skip
    assert list(buckets.values()) == [0, 0, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 6]
    rest = {s.name: (s.labels, s.value) for s in family.samples if not s.name.endswith("_bucket")}
    assert rest == {
        "explaind_job_seconds_count": ({"method": "explain/shap"}, 6),
        "explaind_job_seconds_sum": ({"method": "explain/shap"}, 4000.5),
    }


def test_a_bound_of_another_version_is_not_lost() -> None:
    counters = {("job_seconds_bucket", "m", "0.1"): 1.0, ("job_seconds_bucket", "m", "0.2"): 1.0}
    family = told(StoreStats({}, {}, 0, 0, counters))["explaind_job_seconds"]
    buckets = {s.labels["le"]: s.value for s in family.samples if s.name.endswith("_bucket")}
    assert (buckets["0.2"], buckets["+Inf"]) == (2, 2)


def test_counters_keep_their_labels() -> None:
    counters = {("finished", "explain/shap", "demo", "failed"): 2.0, ("fenced",): 1.0, ("from the future", "x"): 9.0}
    families = told(StoreStats({}, {}, 0, 0, counters))
    (sample,) = families["explaind_jobs_finished"].samples
    assert sample.name == "explaind_jobs_finished_total"
    assert (sample.labels, sample.value) == ({"method": "explain/shap", "model": "demo", "state": "failed"}, 2)
    assert values(families["explaind_jobs_fenced"]) == {(): 1}


def test_what_never_happened_is_zero_where_it_has_no_labels() -> None:
    assert values(told()["explaind_rate_limited"]) == {(): 0}


def test_the_queue() -> None:
    depths, ages = {("gpu", "big"): 3, ("default", "demo"): 1}, {"gpu": 12.5, "default": 0.0}
    families = told(StoreStats(depths, ages, 4, 5, {}, waiting_bytes=1_000_000))
    assert values(families["explaind_queue_depth"]) == {("gpu", "big"): 3, ("default", "demo"): 1}
    assert values(families["explaind_queue_oldest_seconds"]) == {("gpu",): 12.5, ("default",): 0}
    assert values(families["explaind_queue_bytes"]) == {(): 1_000_000}
    assert values(families["explaind_jobs_running"]) == {(): 4}
    assert values(families["explaind_webhook_outbox"]) == {(): 5}


def test_workers_and_what_they_tell() -> None:
    families = told(EMPTY, worker("a", memory_bytes_used=5e9, model_loads=3, unheard_of=1), worker("b"))
    assert values(families["explaind_workers"]) == {(): 2}
    assert values(families["explaind_worker_slots"]) == {("a",): 2, ("b",): 2}
    assert ("a", "big", "loading") in values(families["explaind_worker_models"])
    assert ("b", "demo", "ready") in values(families["explaind_worker_models"])
    assert values(families["explaind_worker_memory_bytes"]) == {("a",): 5e9}
    assert values(families["explaind_worker_model_loads"]) == {("a",): 3}
    assert not any("unheard" in name for name in families)


@pytest.mark.parametrize("metric", names.ALL, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: names.MetricName) -> None:
    assert re.fullmatch(r"explaind_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert metric.name.endswith("_seconds") or metric.kind != "histogram"
    assert metric.help.endswith(".")
    assert {"le", "instance", "job"}.isdisjoint(metric.labels)


def test_no_name_is_used_twice() -> None:
    assert len({metric.name for metric in names.ALL}) == len(names.ALL)
