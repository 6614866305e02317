import numpy as np
import pytest

from explaind_worker.engine.scoring.prefix_tree import branches, chunks, in_order, pack

WORDS = [[5, 1, 2, 3], [5, 1, 2, 4], [5, 1], [6], [5, 1, 2, 3, 9], [5, 2, 2, 3]]


def rows_of(words):
    return [np.array(word, dtype=np.int64) for word in words]


def tree_of(words, reads=1):
    rows = rows_of(words)
    ordered = [rows[index] for index in in_order(rows)]
    return branches(ordered, [reads] * len(ordered))


def ragged(count, seed, alphabet=3, longest=9):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, alphabet, rng.integers(1, longest)).tolist() for _ in range(count)]


def test_rows_are_in_the_order_of_their_tokens():
    rows = rows_of([[300], [2, 1], [2], [2, 300], [1, 9, 9]])
    assert [rows[index].tolist() for index in in_order(rows)] == [[1, 9, 9], [2], [2, 1], [2, 300], [300]]


def test_a_branch_begins_where_its_row_differs_from_the_row_before():
    found = [(b.tokens.tolist(), b.start) for b in tree_of(WORDS)]
    assert found == [
        ([5, 1], 0),
        ([5, 1, 2, 3], 2),
        ([5, 1, 2, 3, 9], 4),
        ([5, 1, 2, 4], 3),
        ([5, 2, 2, 3], 1),
        ([6], 0),
    ]


def test_places_that_are_read_are_nodes_of_their_own():
    assert [branch.start for branch in tree_of([[1, 2, 3], [1, 2, 3, 4], [1, 2, 4]], reads=2)] == [0, 2, 1]


@pytest.mark.parametrize("seed", range(5))
def test_nodes_are_the_distinct_beginnings(seed):
    words = ragged(60, seed)
    distinct = {tuple(word) for word in words}
    beginnings = {word[:end] for word in distinct for end in range(1, len(word))}
    tree = tree_of(sorted(distinct))
    assert sum(branch.nodes for branch in tree) == len(beginnings | distinct)


@pytest.mark.parametrize("most", [1, 7, 30, 10_000])
@pytest.mark.parametrize("seed", range(3))
def test_chunks_lead_each_row_along_its_own_tokens(seed, most):
    """Following the paths of any chunking gives the rows back, whatever was carried."""
    tree = tree_of(ragged(40, seed))
    carried_tokens: list[int] = []
    seen = []
    for part in chunks(tree, most):
        chunk = pack(part, len(carried_tokens))
        assert len(chunk.tokens) <= max(most, part[0].nodes)
        everything = np.array([*carried_tokens, *chunk.tokens.tolist()])
        for path, length, branch in zip(chunk.paths, chunk.lengths, part, strict=True):
            assert everything[path[:length]].tolist() == branch.tokens.tolist()
            seen.append(branch.tokens.tolist())
        own = np.concatenate([path[b.start : n] for path, n, b in zip(chunk.paths, chunk.lengths, part, strict=True)])
        assert own.tolist() == list(range(len(carried_tokens), len(everything))), "each node is one row's own"
        assert chunk.tokens[chunk.reads].tolist() == [int(branch.tokens[-1]) for branch in part]
        carried_tokens = everything[chunk.last_path].tolist()
    assert seen == [branch.tokens.tolist() for branch in tree]
