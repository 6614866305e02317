import numpy as np
import pytest
import torch

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.blocks.units import ReplacementText, Segments
from explaind.contract.errors import OutOfMemory
from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.tree_attention import TRUNK, _over_trunk
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.engine.scoring.value_function import ValueFunction
from tests.support.families import ALL, REPRESENTATIVES, with_representatives
from tests.support.reference import token_logits, token_logprobs

EXHAUSTED = {
    "cuda": torch.OutOfMemoryError,
    "cpu": lambda *_: RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: …"),
    "python": MemoryError,
}
PROMPT = "Once upon a time Mary gave a drink"


def game(model, baseline="mask", prompt=PROMPT):
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=prompt))
    unit_map = units_of(encoded, "word")
    return Masker(encoded, unit_map, replacement_for(baseline, model.encoder, encoded, unit_map))


def value_function(model, players, continuations, *, limits=None, meter=None, report_progress=lambda *_: None):
    return ValueFunction(
        model, players, continuations, meter=meter or CostMeter(), report_progress=report_progress, limits=limits
    )


@pytest.fixture(params=["tree", "dense"])
def reading(request, monkeypatch):
    """Both ways to read rows: as a tree, and in dense batches as for a model that cannot read one."""
    if request.param == "dense":
        monkeypatch.setattr("explaind_worker.engine.scoring.value_function.why_dense", lambda _: "it was asked for")
    return request.param


@pytest.mark.parametrize(
    ("family", "baseline"),
    [
        *((family, "mask") for family in ALL),
        *((family, "remove") for family in with_representatives("sliding")),  # rows of many lengths
        *((family, ReplacementText(text=" and the")) for family in REPRESENTATIVES),
    ],
    ids=str,
)
def test_equals_one_forward_per_question(loaded, reading, family, baseline):
    """Ragged rows and continuations of several lengths, batched, against one plain forward each."""
    model = loaded(family)
    players = game(model, baseline)
    continuations = [(20, 31, 7), (20, 31, 9), (45,)]
    coalitions = np.random.default_rng(0).random((9, players.count)) < 0.5
    scores = value_function(model, players, continuations, limits=BatchLimits(60, 1 << 20))(coalitions)
    for index, row in enumerate(players.rows(coalitions)):
        expected = [x for c in continuations for x in token_logprobs(model, row, c)]
        raw = [x for c in continuations for x in token_logits(model, row, c)]
        np.testing.assert_allclose(scores.logprobs[index], expected, atol=2e-4)
        np.testing.assert_allclose(scores.logits[index], raw, atol=2e-4)


@pytest.mark.parametrize("family", ALL)
def test_every_distinct_beginning_is_evaluated_once(loaded, family):
    """All coalitions of a prompt, in chunks that hold a part of the tree each."""
    model, meter = loaded(family), CostMeter()
    players = game(model, prompt="Once upon a time Mary gave a")
    coalitions = (np.arange(2**players.count)[:, None] >> np.arange(players.count) & 1).astype(bool)
    limits = BatchLimits(200, 1 << 20)
    scores = value_function(model, players, [(20, 31), (20, 45, 6)], meter=meter, limits=limits)(coalitions)
    rows = list(players.rows(coalitions))
    for index in range(0, len(rows), 13):
        expected = [x for c in [(20, 31), (20, 45, 6)] for x in token_logprobs(model, rows[index], c)]
        np.testing.assert_allclose(scores.logprobs[index], expected, atol=2e-4)
    assert meter.dense_because is None
    # The places that are read are nodes of their own: the prompt's last one and what is fed, for each continuation.
    beginnings = {tuple(row[:end]) for row in rows for end in range(1, len(row))}
    assert meter.tokens_evaluated == len(beginnings) + len(rows) * (2 + 3)
    assert meter.tokens_saved == meter.tokens_asked - meter.tokens_evaluated > 0.5 * meter.tokens_asked


def test_a_shared_beginning_costs_once_however_many_chunks_there_are(loaded):
    model, meter = loaded("llama"), CostMeter()
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    unit_map = units_of(
        encoded, Segments(segments=[(len(PROMPT) - 7, len(PROMPT) - 6), (len(PROMPT) - 5, len(PROMPT))])
    )
    players = Masker(encoded, unit_map, replacement_for("mask", model.encoder, encoded, unit_map))
    coalitions = np.array([[False, False], [False, True], [True, False], [True, True]])
    value_function(model, players, [(3,)], meter=meter, limits=BatchLimits(1, 1))(coalitions)
    changing = len(encoded) - unit_map.unit_of_token.index(0)
    assert meter.forwards == 4
    assert meter.tokens_evaluated <= len(encoded) + 3 * changing


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "phi"])
def test_a_long_shared_beginning_is_attended_to_apart(loaded, family, monkeypatch):
    """Its softmax and that of the rest are joined; the answers are those of one plain forward each."""
    model, joined = loaded(family), []
    monkeypatch.setattr("explaind_worker.engine.scoring.tree_attention._over_trunk", spied(_over_trunk, joined))
    prompt = "Once upon a time Mary and John went to the store. " * 3 + PROMPT
    encoded = model.encoder.prompt(PromptRequest(model="m", prompt=prompt))
    start = prompt.rindex("Mary")
    segments = [(start + at, start + at + size) for at, size in ((0, 4), (5, 4), (10, 1), (12, 5))]
    unit_map = units_of(encoded, Segments(segments=segments))
    assert unit_map.unit_of_token.index(0) > TRUNK
    players = Masker(encoded, unit_map, replacement_for("mask", model.encoder, encoded, unit_map))
    coalitions = (np.arange(16)[:, None] >> np.arange(4) & 1).astype(bool)
    scores = value_function(model, players, [(20, 31), (45,)])(coalitions)
    assert joined
    for index, row in enumerate(players.rows(coalitions)):
        expected = [x for c in [(20, 31), (45,)] for x in token_logprobs(model, row, c)]
        np.testing.assert_allclose(scores.logprobs[index], expected, atol=2e-4)


def spied(function, calls):
    """The function, which adds to `calls` each time."""

    def spy(*args):
        calls.append(function)
        return function(*args)

    return spy


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text"])
def test_the_batch_size_does_not_matter(loaded, reading, family):
    model = loaded(family)
    players = game(model, "remove")
    coalitions = np.random.default_rng(1).random((40, players.count)) < 0.5
    small = value_function(model, players, [(3, 4)], limits=BatchLimits(1, 1))(coalitions)
    large = value_function(model, players, [(3, 4)], limits=BatchLimits(10**6, 10**9))(coalitions)
    np.testing.assert_allclose(small.logprobs, large.logprobs, atol=1e-5)


def test_equal_rows_are_evaluated_once_in_the_life_of_the_function(loaded):
    model = loaded("llama")
    players, meter = game(model), CostMeter()
    value = value_function(model, players, [(3,)], meter=meter)
    coalitions = np.zeros((50, players.count), dtype=bool)
    coalitions[25:, 0] = True
    first = value(coalitions)
    evaluated = meter.tokens_evaluated
    first_row, other_row = (next(players.rows(coalitions[place : place + 1])) for place in (0, 25))
    shared = int((first_row != other_row).argmax())
    assert evaluated == 2 * len(first_row) - shared
    assert meter.tokens_saved == 50 * len(first_row) - evaluated
    assert meter.forwards == 1
    again = value(coalitions[::-1])
    assert meter.tokens_evaluated == evaluated
    assert meter.tokens_saved == 50 * len(first_row) - evaluated, "what is known is not asked again"
    np.testing.assert_array_equal(again.logprobs, first.logprobs[::-1])


def test_answers_are_kept_in_blocks_made_before_the_first_forward(loaded, reading):
    """Small answers between the large blocks of the forwards would make memory grow with the number of rows."""
    model = loaded("llama")
    value = value_function(model, game(model), [(3, 4), (5,)], limits=BatchLimits(60, 1 << 20))
    value(np.random.default_rng(9).random((40, 8)) < 0.5)
    kept = list(value._known.values())
    assert len(kept) > 40
    assert len({id(answer.base) for answer in kept}) == 2, "one block for each group of continuations"


def test_labels_of_one_token_share_their_rows(loaded):
    model = loaded("llama")
    players, meter = game(model), CostMeter()
    value_function(model, players, [(3,), (4,), (5,)], meter=meter)(np.ones((1, players.count), dtype=bool))
    assert meter.forwards == 1


def test_limits_bound_each_forward(loaded):
    model = loaded("llama")
    players = game(model, "remove")
    seen = []
    handle = model.network.model.register_forward_pre_hook(
        lambda _m, _a, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    try:
        coalitions = np.random.default_rng(2).random((30, players.count)) < 0.5
        value_function(model, players, [(3,)], limits=BatchLimits(64, 1 << 30))(coalitions)
        assert max(seen) <= 64
    finally:
        handle.remove()


def test_logits_leave_the_unembedding_in_slices(loaded, reading):
    model = loaded("llama")
    players = game(model, "remove")
    seen = []
    handle = model.anatomy.unembedding.register_forward_hook(lambda _m, _a, out: seen.append(out.numel()))
    try:
        coalitions = np.random.default_rng(2).random((30, players.count)) < 0.5
        most = 4 * model.anatomy.vocabulary
        value_function(model, players, [(3, 4)], limits=BatchLimits(1 << 30, most))(coalitions)
        assert len(seen) >= 10
        assert max(seen) <= most
    finally:
        handle.remove()


def test_checkpoint_is_passed_between_batches_and_may_stop_the_work(loaded):
    model = loaded("llama")
    players = game(model)
    coalitions = np.random.default_rng(3).random((40, players.count)) < 0.5
    seen = []

    class Stop(Exception):
        pass

    def report_progress(phase, done, total, unit):
        seen.append((phase, done, total, unit))
        if done >= 10:
            raise Stop

    with pytest.raises(Stop):
        value_function(model, players, [(3,)], limits=BatchLimits(40, 1 << 30), report_progress=report_progress)(
            coalitions
        )
    assert seen[0] == ("evaluating", 0, 40, "coalitions")
    assert seen[-1][1] < 40
    assert not model.anatomy.unembedding._forward_pre_hooks, "no hook may stay behind"


class Exhausted:
    """The model on a device that runs out of memory where `fails(tokens, call)` says so."""

    def __init__(self, model, fails, error=torch.OutOfMemoryError):
        self.tokens, self.fails, self.error, self.calls = [], fails, error, 0
        hook = model.network.base_model.register_forward_hook
        self.handle = hook(self._afterwards, with_kwargs=True)

    def _afterwards(self, _module, _args, kwargs, _output):
        # After the blocks have run: a forward that fails had cost something already, and left something behind.
        tokens = kwargs["input_ids"].numel()
        self.calls += 1
        if self.fails(tokens, self.calls):
            raise self.error("no more memory")
        self.tokens.append(tokens)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.handle.remove()


@pytest.mark.parametrize("kind", EXHAUSTED)
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_out_of_memory_halves_the_batch_and_goes_on(loaded, reading, family, kind):
    model = loaded(family)
    players = game(model)
    coalitions = np.random.default_rng(4).random((40, players.count)) < 0.5
    expected = value_function(model, players, [(3, 4), (5,)])(coalitions)
    meter = CostMeter()
    with Exhausted(model, lambda tokens, _: tokens > 60, EXHAUSTED[kind]) as device:
        value = value_function(model, players, [(3, 4), (5,)], meter=meter)
        scores = value(coalitions)
    np.testing.assert_allclose(scores.logprobs, expected.logprobs, atol=1e-5)
    np.testing.assert_allclose(scores.logits, expected.logits, atol=1e-5)
    assert max(device.tokens) <= 60
    assert 1 <= meter.backoffs <= 5, "what was learnt is remembered"
    assert not model.anatomy.unembedding._forward_pre_hooks
    assert not model.lock.locked()


def test_chunks_of_one_row_after_a_failure_give_the_very_same_numbers(loaded):
    model = loaded("llama")
    players = game(model, "remove")
    coalitions = np.random.default_rng(5).random((20, players.count)) < 0.5
    one_by_one = value_function(model, players, [(3,)], limits=BatchLimits(1, 1))(coalitions)
    with Exhausted(model, lambda tokens, _: tokens > players.longest):
        halved = value_function(model, players, [(3,)])(coalitions)
    np.testing.assert_allclose(halved.logprobs, one_by_one.logprobs, atol=1e-5)


def test_a_failure_in_passing_is_survived_and_metered(loaded, reading):
    model = loaded("gemma2")
    players = game(model)
    coalitions = np.random.default_rng(6).random((30, players.count)) < 0.5
    limits, undisturbed, meter = BatchLimits(100, 1 << 30), CostMeter(), CostMeter()
    expected = value_function(model, players, [(3,)], meter=undisturbed, limits=limits)(coalitions)
    with Exhausted(model, lambda _, call: call == 2) as device:
        scores = value_function(model, players, [(3,)], meter=meter, limits=limits)(coalitions)
    np.testing.assert_allclose(scores.logprobs, expected.logprobs, atol=1e-5)
    assert meter.backoffs == 1
    assert sum(device.tokens) == meter.tokens_evaluated == undisturbed.tokens_evaluated, "what failed answered nothing"
    assert meter.forwards == len(device.tokens) > undisturbed.forwards


def test_a_device_without_any_memory_ends_the_job_and_not_the_model(loaded):
    model = loaded("llama")
    players = game(model)
    coalitions = np.ones((1, players.count), dtype=bool)
    expected = value_function(model, players, [(3,)])(coalitions)
    with Exhausted(model, lambda *_: True), pytest.raises(OutOfMemory) as caught:
        value_function(model, players, [(3,)])(coalitions)
    assert caught.value.retryable
    again = value_function(model, players, [(3,)])(coalitions)
    np.testing.assert_array_equal(again.logprobs, expected.logprobs)


def test_forwards_stay_within_the_free_memory(loaded, reading):
    """The estimate of every forward fits, and one row goes through however little there is."""
    model = loaded("llama")
    players, footprint = game(model), Footprint.of(model)
    coalitions = np.random.default_rng(7).random((40, players.count)) < 0.5
    expected = value_function(model, players, [(3,)])(coalitions)
    longest = players.longest
    free = {"tree": footprint.tree_bytes(6 * longest, longest), "dense": footprint.forward_bytes(6, longest)}[reading]
    largest = []
    for budget in (free, free // 2, 1):
        with Exhausted(model, lambda *_: False) as device:
            limits = BatchLimits(1 << 20, 1 << 30, bytes=budget)
            scores = value_function(model, players, [(3,)], limits=limits)(coalitions)
        largest.append(max(device.tokens))
        np.testing.assert_allclose(scores.logprobs, expected.logprobs, atol=1e-5)
    assert 5 * longest < largest[0] <= 6 * longest
    assert largest[0] > largest[1] > largest[2] <= longest


@pytest.mark.parametrize("baseline", ["mask", "remove", ReplacementText(text=" and the other one")], ids=str)
def test_no_row_is_longer_than_the_longest(loaded, baseline):
    players = game(loaded("llama"), baseline)
    coalitions = np.random.default_rng(8).random((60, players.count)) < 0.3
    assert max(len(row) for row in players.rows(coalitions)) <= players.longest
