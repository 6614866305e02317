"""Who leaves, told without any model."""

import pytest

from explaind_worker.models.pool.memory_ledger import MemoryEntry, MemoryLedger


def ledger_with(*accounts: MemoryEntry, budget: int = 1000) -> MemoryLedger:
    ledger = MemoryLedger(budget)
    for account in accounts:
        account.loaded = True
        ledger.accounts.append(account)
        ledger.use(account)
    return ledger


def names(accounts) -> list[str] | None:
    return None if accounts is None else [account.name for account in accounts]


def test_nobody_leaves_while_there_is_room():
    ledger = ledger_with(MemoryEntry("a", 300, load_s=1))
    assert ledger.leavers_for_weights(600) == []
    assert names(ledger.leavers_for_weights(601)) == ["a"], "a tenth of the budget is kept for work"


def test_what_is_cheap_to_load_again_for_its_size_leaves_first():
    dear = MemoryEntry("dear", 400, load_s=40)
    cheap = MemoryEntry("cheap", 400, load_s=4)
    assert names(ledger_with(dear, cheap).leavers_for_weights(300)) == ["cheap"]
    large = MemoryEntry("large", 700, load_s=4)
    small = MemoryEntry("small", 100, load_s=4)
    assert names(ledger_with(small, large).leavers_for_weights(200)) == ["large"]


def test_among_equals_the_one_longest_unused_leaves():
    a, b, c = (MemoryEntry(name, 300, load_s=3) for name in "abc")
    ledger = ledger_with(a, b, c)
    ledger.evict(ledger.leavers(1))
    assert names(ledger.accounts) == ["b", "c"]
    ledger.use(b)  # asked for after somebody left, so worth more than c
    assert names(ledger.leavers(1)) == ["c"]


def test_a_dear_model_does_not_stay_for_ever():
    dear = MemoryEntry("dear", 100, load_s=10)
    ledger = ledger_with(dear)
    for turn in range(30):
        other = MemoryEntry(f"other-{turn}", 100, load_s=1, loaded=True)
        ledger.accounts.append(other)
        ledger.use(other)
        ledger.evict(ledger.leavers(1) or [])
        if dear not in ledger.accounts:
            break
    assert 5 < turn < 15, "about as many evictions as its loading is dearer"


def test_models_in_use_or_on_their_way_never_leave():
    used, coming, idle = (MemoryEntry(name, 300, load_s=1) for name in ("used", "coming", "idle"))
    ledger = ledger_with(used, coming, idle)
    used.users, coming.loaded = 1, False
    assert names(ledger.leavers(300)) == ["idle"]
    assert ledger.leavers(301) is None


def test_preloaded_models_leave_only_when_the_others_are_not_enough():
    kept = MemoryEntry("kept", 400, preload=True, load_s=0.001)
    dear = MemoryEntry("dear", 300, load_s=100)
    ledger = ledger_with(kept, dear)
    assert names(ledger.leavers(300)) == ["dear"]
    assert names(ledger.leavers(301)) == ["kept"], "it has to leave, and then the other need not"
    assert names(ledger.leavers(401)) == ["dear", "kept"]


def test_nobody_leaves_in_vain():
    small = MemoryEntry("small", 10, load_s=0.001)
    large = MemoryEntry("large", 500, load_s=500)
    assert names(ledger_with(small, large).leavers(400)) == ["large"]


@pytest.mark.parametrize(("kept", "room"), [(0, 900), (50, 900), (300, 700)])
def test_what_jobs_keep_uses_the_reserve_first(kept, room):
    account = MemoryEntry("a", 0, load_s=1, kept=kept)
    ledger = ledger_with(account)
    account.users = 1
    assert ledger.leavers_for_weights(room) == []
    assert ledger.leavers_for_weights(room + 1) is None
    assert ledger.free == 1000 - kept


def test_room_for_what_is_not_there_is_told_without_anybody_leaving():
    ledger = ledger_with(MemoryEntry("a", 300), MemoryEntry("b", 200))
    assert ledger.room_for("a", 300, 100) == 500, "it is counted already"
    assert ledger.room_for("new", 400, 50) == 100
    assert ledger.room_for("new", 400, 250) == 250, "others would leave"
    assert ledger.room_for("new", 400, 2000) == 600, "as many as there are"
    assert ledger.room_for("a", 300, 2000) == 700, "but not the model itself"
    assert names(ledger.accounts) == ["a", "b"]
    ledger.accounts[1].users = 1
    assert ledger.room_for("new", 400, 2000) == 400
