"""How large a tree is, against a set of all prefixes."""

import time

import numpy as np
import pytest

from explaind_worker.engine.tree_size import distinct_prefixes, nodes_added, packed


def ragged(seed: int, *, rows: int = 60, longest: int = 9, vocabulary: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, vocabulary, random.integers(1, longest + 1)) for _ in range(rows)]


def prefixes(rows) -> set[tuple[int, ...]]:
    return {tuple(row[:end].tolist()) for row in rows for end in range(1, len(row) + 1)}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("vocabulary", [1, 3, 50_000])
def test_every_distinct_prefix_is_one_node(seed, vocabulary):
    rows = ragged(seed, vocabulary=vocabulary)
    assert distinct_prefixes(rows) == len(prefixes(rows))


def test_ids_whose_bytes_end_in_zero_stay_apart():
    rows = [np.array([255]), np.array([255, 255]), np.array([65_535]), np.array([0]), np.array([0, 0]), np.array([256])]
    assert distinct_prefixes(rows) == len(prefixes(rows)) == 6
    order, _ = nodes_added(rows)
    assert [rows[i].tolist() for i in order] == sorted(row.tolist() for row in rows)


def test_nothing_is_no_tree():
    assert distinct_prefixes([]) == 0
    assert list(packed(nodes_added([])[1], 10)) == []


@pytest.mark.parametrize("seed", range(5))
def test_places_that_are_read_are_nodes_of_their_own(seed):
    rows = [np.concatenate([row, [7, 8]]) for row in ragged(seed)]
    order, nodes = nodes_added(rows, 2)
    before: list[int] = []
    for index, added in zip(order, nodes, strict=True):
        row = rows[index].tolist()
        common = next(
            (i for i, (a, b) in enumerate(zip(row, before, strict=False)) if a != b), min(len(row), len(before))
        )
        assert added == len(row) - min(common, len(row) - 2)
        before = row
    _, mixed = nodes_added(rows, [2] * len(rows))
    assert mixed.tolist() == nodes.tolist()


def test_forwards_take_whole_rows():
    parts = list(packed(np.array([9, 4, 4, 30, 1, 1]), 10))
    assert [(part.start, part.stop) for part in parts] == [(0, 1), (1, 3), (3, 4), (4, 6)]


def test_many_rows_take_no_time():
    rows = list(np.random.default_rng(0).integers(0, 2, (4096, 160)))
    started = time.process_time()
    distinct_prefixes(rows)
    assert time.process_time() - started < 5, "some 50 ms; a loop over tokens takes a minute"
