"""The rate of a key: a burst, and then its pace; what is given back was never taken."""

import pytest

from explaind.contract.errors import RateLimited
from explaind_jobs.store.rate_limit import give_back, take
from explaind_jobs.store.records import Allowance

ALLOWED = Allowance(requests_per_minute=2, burst=3)  # half a minute each: no slow machine gets one back


def test_a_rate_lets_a_burst_through_and_then_its_pace(shop) -> None:
    run = shop.store.run
    rates = [run(take("a", ALLOWED)) for _ in range(3)]
    assert [rate.remaining for rate in rates] == [2, 1, 0]
    assert rates[2].limit == 3
    with pytest.raises(RateLimited) as caught:
        run(take("a", ALLOWED))
    assert 20 < caught.value.retry_after <= 30
    assert run(take("b", ALLOWED)).remaining == 2
    shop.store.client.incrbyfloat("explaind:rate:a", -30_000)  # half a minute goes by
    run(take("a", ALLOWED))
    with pytest.raises(RateLimited):
        run(take("a", ALLOWED))
    assert shop.store.client.hget("explaind:stats", "rate_limited") == b"2"


def test_what_is_given_back_may_be_taken_and_nothing_more(shop) -> None:
    run = shop.store.run
    for _ in range(3):
        run(take("a", ALLOWED))
    run(give_back("a", ALLOWED))
    assert run(take("a", ALLOWED)).remaining == 0
    for _ in range(9):
        run(give_back("a", ALLOWED))
    assert run(take("a", ALLOWED)).remaining == 2
