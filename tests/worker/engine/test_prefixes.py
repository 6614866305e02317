import numpy as np
import pytest

from explaind_worker.engine.prefixes import WORTH, best_split


def cost(rows, split):
    return len(np.unique(rows[:, :split], axis=0)) * split + len(rows) * (rows.shape[1] - split)


def all_coalitions(units):
    return np.array(sorted(((np.arange(2**units)[:, None] >> np.arange(units)) & 1).tolist()))


@pytest.mark.parametrize("units", [2, 5, 9])
def test_the_split_is_the_cheapest_there_is(units):
    rows = np.concatenate([np.ones((2**units, 3), dtype=int), all_coalitions(units)], axis=1)
    longest = rows.shape[1] - 1
    costs = {split: cost(rows, split) for split in range(1, longest + 1)}
    split = best_split(rows, longest)
    assert costs[split] == min(costs.values())
    assert costs[split] <= WORTH * rows.size


def test_rows_with_nothing_in_common_are_not_split():
    rows = np.sort(np.random.default_rng(0).permutation(400).reshape(40, 10), axis=0)
    assert best_split(rows, 9) == 0


def test_one_row_and_no_room_are_not_split():
    assert best_split(np.ones((1, 8), dtype=int), 7) == 0
    assert best_split(np.ones((9, 8), dtype=int), 0) == 0


def test_the_positions_that_are_read_stay_behind_the_split():
    assert best_split(np.ones((9, 8), dtype=int), 3) == 3
