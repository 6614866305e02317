"""Which of the waiting jobs a worker gets: by priority, model, API key and suspicion."""

import pytest
import redis

from explaind.contract.errors import QueueFull
from explaind.contract.job import JobState
from explaind_jobs.store import transitions
from explaind_jobs.store.records import Allowance


def taken(shop, many: int, **claim) -> list[str]:
    """The ids of the next claims, each job ended at once."""
    ids = []
    for _ in range(many):
        claimed = shop.take(**claim)
        shop.end(claimed)
        ids.append(claimed.id)
    return ids


def test_the_oldest_is_first(shop):
    ids = [shop.put() for _ in range(4)]
    assert taken(shop, 4) == ids


def test_a_higher_priority_goes_first_among_ones_own(shop):
    low, normal, high = (shop.put(priority=priority) for priority in ("low", "normal", "high"))
    assert shop.store.get(high).queue_position == 0
    assert taken(shop, 3) == [high, normal, low]


def test_a_low_priority_does_not_starve(shop):
    low = shop.put(priority="low")
    shop.age(low, 1300)
    shop.put(priority="high")
    assert shop.take().id == low


def test_a_model_in_memory_goes_before_an_older_job_of_another(shop):
    other, mine = shop.put(model="x"), shop.put(model="y")
    assert taken(shop, 2, models=("y",)) == [mine, other]


def test_a_job_of_another_model_waits_no_longer_than_the_bonus(shop):
    other = shop.put(model="x")
    shop.age(other, shop.store.settings.affinity_s + 1)
    shop.put(model="y")
    assert shop.take(models=("y",)).id == other


def test_models_are_loaded_rarely(shop):
    """160 jobs over 4 models, and workers that hold the model of their last job: 4 changes, where order gives 160."""
    for number in range(160):
        shop.put(model=f"m{number % 4}")
    changes, held = 0, "none"
    for _ in range(160):
        claimed = shop.take(models=(held,))
        changes += claimed.model != held
        held = claimed.model
        shop.end(claimed)
    assert changes == 4


def test_a_flood_of_one_key_does_not_hold_up_another(shop):
    for _ in range(50):
        shop.put(key="flood")
    taken(shop, 10)
    late = [shop.put(key="late") for _ in range(3)]
    assert set(late) <= set(taken(shop, 7))


def test_keys_take_turns_by_the_time_their_jobs_take(shop, valkey: redis.Redis):
    """Jobs of the slow key take ten times as long: it gets about a tenth of the turns."""
    for _ in range(60):
        shop.put(key="slow", method="explain/slow")
        shop.put(key="quick")
    turns = {"slow": 0, "quick": 0}
    for _ in range(55):
        claimed = shop.take()
        turns[claimed.key] += 1
        seconds = 10 if claimed.key == "slow" else 1
        valkey.hincrby(f"explaind:job:{claimed.id}", "started", -seconds * 1000)
        shop.end(claimed)
    assert 4 <= turns["slow"] <= 8


def test_a_key_that_rested_has_saved_nothing_up(shop):
    shop.put(key="rests")
    taken(shop, 1)
    for _ in range(30):
        shop.put(key="works")
    taken(shop, 20)
    for _ in range(20):
        shop.put(key="rests")
    keys = [shop.store.client.hget(f"explaind:job:{job_id}", "key") for job_id in taken(shop, 8)]
    assert 3 <= keys.count(b"works") <= 5


def test_the_position_counts_the_turns_of_other_keys(shop):
    for _ in range(5):
        shop.put(key="a")
    first, second = shop.put(key="b"), shop.put(key="b")
    order = taken(shop, 7)
    shop_again = [shop.put(key="a") for _ in range(5)]
    assert shop_again
    assert order.index(first) <= 1
    assert order.index(second) <= 3


def test_the_position_told_is_the_position_had(shop):
    ids = [shop.put(key="a") for _ in range(4)] + [shop.put(key="b") for _ in range(3)]
    told = {job_id: shop.store.get(job_id).queue_position for job_id in ids}
    order = taken(shop, 7)
    assert all(abs(told[job_id] - order.index(job_id)) <= 1 for job_id in ids), (told, order)


def test_a_key_runs_no_more_than_it_may(shop, valkey: redis.Redis):
    valkey.hset("explaind:apikey:a", "max_running", 1)
    shop.put(key="a")
    shop.put(key="a")
    other = shop.put(key="b")
    first = shop.take()
    assert first.key == "a"
    assert shop.take().id == other
    assert shop.store.claim("w", ["default"]) is None
    shop.end(first)
    assert shop.take().key == "a"


def test_a_start_is_estimated_from_the_pace_and_the_slots(shop, valkey: redis.Redis):
    first = shop.put()
    assert shop.store.get(first).starts_in_s is None
    shop.heartbeat()
    claimed = shop.take()
    valkey.hincrby(f"explaind:job:{first}", "started", -4000)
    shop.end(claimed)
    ids = [shop.put() for _ in range(4)]
    estimates = [shop.store.get(job_id).starts_in_s for job_id in ids]
    assert [round(seconds) for seconds in estimates if seconds is not None] == [0, 2, 4, 6]


def test_a_suspect_runs_alone_and_on_an_idle_worker_only(shop):
    suspect = shop.put()
    shop.take()
    shop.lose_all()
    innocent = shop.put()
    busy = shop.take(held=1)
    assert (busy.id, busy.suspect) == (innocent, False)
    idle = shop.take(held=0)
    assert (idle.id, idle.suspect, idle.attempt) == (suspect, True, 2)


def test_a_suspect_that_has_waited_long_reserves_a_worker(shop, valkey: redis.Redis):
    suspect = shop.put()
    shop.take()
    shop.lose_all()
    valkey.zadd("explaind:suspects:default", {suspect: 1})
    innocent = shop.put()
    assert shop.store.claim("w", ["default"], (), 1) is None, "this worker empties itself for the suspect"
    assert shop.take("other", held=1).id == innocent, "others work on"
    assert shop.take("w", held=0).id == suspect


def test_a_suspect_counts_as_waiting(shop):
    suspect = shop.put()
    shop.take()
    shop.lose_all()
    assert shop.store.queued() == 1
    assert shop.store.get(suspect).queue_position == 0
    shop.store.cancel(suspect)
    assert shop.store.queued() == 0
    assert shop.store.claim("w", ["default"]) is None


def test_a_broken_device_counts_as_a_loss(shop):
    job_id = shop.put()
    claimed = shop.take()
    assert shop.store.release(job_id, claimed.attempt, lost=True)
    assert shop.take().suspect
    assert shop.store.get(job_id).state is JobState.RUNNING


def test_each_key_has_its_own_share_of_the_queue(shop):
    allowance = Allowance(max_queued=2)
    for _ in range(2):
        shop.put(key="a", allowance=allowance)
    with pytest.raises(QueueFull, match="of this key"):
        shop.put(key="a", allowance=allowance)
    shop.put(key="b", allowance=allowance)


def test_a_claim_whose_reply_was_lost_is_told_again(shop):
    first, second = shop.put(), shop.put()
    call = transitions.claim(shop.store.settings, "w", ["default"])
    claimed, again = shop.store.run(call), shop.store.run(call)
    assert claimed == again
    assert (claimed.id, claimed.attempt) == (first, 1)
    assert shop.take().id == second


def test_a_claim_that_was_lost_long_ago_gives_nobody_elses_job(shop):
    shop.put()
    call = transitions.claim(shop.store.settings, "w", ["default"])
    assert shop.store.run(call)
    shop.lose_all()
    assert shop.take("other").attempt == 2
    assert shop.store.run(call) is None
