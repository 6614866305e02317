import numpy as np
import pytest
import torch

from explaind_worker.engine.batching.cost_meter import CostMeter
from explaind_worker.engine.batching.limits import BatchLimits
from explaind_worker.lenses import trainer
from explaind_worker.lenses.trainer import LensTraining, Recipe
from explaind_worker.training.token_batches import drawn, held_out, longest_first, pieces
from tests.support.families import REPRESENTATIVES

ROWS = [(1, 9, 8, 7, 30), (1, 5, 6), (1, 40, 41, 42, 43, 44, 45), (1,)]
SGD = Recipe(steps=4, optimizer="sgd", learning_rate=1.0, weight_decay=1e-3)


def training(model, recipe=SGD, *, tokens=4096):
    return LensTraining(model, BatchLimits(tokens=tokens, logits=1 << 20), CostMeter(), recipe)


class Reference:
    """The same objective by plain autograd through a plain module, every text by itself, in float32."""

    def __init__(self, model, recipe):
        self.model, self.anatomy = model, model.anatomy
        depths, hidden = len(model.anatomy.blocks), model.anatomy.hidden
        self.weights = torch.zeros((depths, hidden, hidden), requires_grad=True)
        self.biases = torch.zeros((depths, hidden), requires_grad=True)
        numbers = [self.weights, self.biases]
        rate = recipe.learning_rate * 0.1
        self.optimizer = torch.optim.SGD(
            numbers, lr=rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, 1e-9, recipe.steps)

    def losses(self, rows):
        """Mean KL at each depth."""
        parts = []
        for row in rows:
            with torch.no_grad():
                output = self.model.network(torch.tensor([row]), output_hidden_states=True, use_cache=False)
            final = output.logits[0].log_softmax(-1)
            for depth, state in enumerate(output.hidden_states[:-1]):
                h = state[0] + state[0] @ self.weights[depth].T + self.biases[depth]
                logits = self.anatomy.final_logits(self.anatomy.unembedding(self.anatomy.final_norm(h)))
                parts.append((final.exp() * (final - logits.log_softmax(-1))).sum())
        return torch.stack(parts).view(len(rows), -1).sum(0) / sum(map(len, rows))

    def step(self, rows):
        losses = self.losses(rows)
        self.optimizer.zero_grad()
        losses.sum().backward()
        for depth in range(len(self.weights)):
            mine = [self.weights.grad[depth], self.biases.grad[depth]]
            norm = torch.sqrt(sum(part.square().sum() for part in mine))
            for gradient in mine:
                gradient.mul_(min(1.0, 1.0 / float(norm)))
        self.optimizer.step()
        self.schedule.step()
        return losses.detach().numpy()


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_steps_are_those_of_plain_autograd(loaded, family, monkeypatch):
    """Sliced, batched with padding, and in parts: what comes out is what one text at a time gives."""
    model = loaded(family)
    monkeypatch.setattr(trainer, "CPU_SLICE", 3 * model.anatomy.vocabulary)
    ours, reference = training(model, tokens=8), Reference(model, SGD)
    for _ in range(3):
        np.testing.assert_allclose(ours.step(ROWS), reference.step(ROWS), rtol=2e-4)
    torch.testing.assert_close(ours.translators.weights, reference.weights.detach(), atol=2e-4, rtol=2e-3)
    torch.testing.assert_close(ours.translators.biases, reference.biases.detach(), atol=2e-4, rtol=2e-3)
    with torch.no_grad():
        found = ours.divergence(ROWS, tuned=True)
        np.testing.assert_allclose(found, reference.losses(ROWS).numpy(), rtol=2e-3)
    assert all(parameter.grad is None for parameter in model.network.parameters())


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_untrained_it_is_the_logit_lens_and_a_random_one_is_worse_than_a_trained_one(loaded, family):
    ours = training(loaded(family))
    plain = ours.divergence(ROWS, tuned=False)
    assert (ours.divergence(ROWS, tuned=True) == plain).all()
    for _ in range(4):
        ours.step(ROWS)
    trained = ours.divergence(ROWS, tuned=True)
    assert (trained < plain).all()
    ours.translators.weights.copy_(torch.randn(ours.translators.weights.shape, generator=torch.manual_seed(0)))
    assert (ours.divergence(ROWS, tuned=True) > trained).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_training_can_be_repeated_to_the_bit(loaded, optimizer):
    recipe = Recipe(steps=4, optimizer=optimizer, learning_rate=0.01, weight_decay=0.0)
    lenses = []
    for _ in range(2):
        made = training(loaded("llama"), recipe)
        losses = [made.step(ROWS) for _ in range(3)]
        lenses.append((made.translators.weights, np.stack(losses)))
    assert torch.equal(lenses[0][0], lenses[1][0])
    assert (lenses[0][1] == lenses[1][1]).all()
    assert lenses[0][0].abs().max() > 0


def test_the_learning_rate_falls_to_zero_and_rises_first_for_adam():
    plain = Recipe(10, "sgd", 1.0, 0.0)
    assert [plain.factor(step) for step in (0, 5, 10)] == [1.0, 0.5, 0.0]
    warmed = Recipe(10, "adam", 1.0, 0.0)
    factors = [warmed.factor(step) for step in range(11)]
    assert warmed.warm_up == 2
    assert factors[0] < factors[1] < factors[2] == 1.0
    assert factors[-1] == 0.0


def test_the_stream_of_a_padded_batch_is_that_of_each_row(loaded):
    model = loaded("gemma2")
    made = training(model)
    [together] = made._streams(ROWS, reads=1)
    rows = longest_first(ROWS, lambda *_: True)
    alone = torch.cat([stream for row in next(rows) for stream in made._streams([row], reads=1)], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert together.shape == (4, sum(map(len, ROWS)), model.anatomy.hidden)


def test_memory_that_runs_out_halves_the_batch_and_changes_nothing(loaded, monkeypatch):
    model = loaded("llama")
    whole = training(model)
    expected = whole.step(ROWS)
    scarce, plainly = training(model), trainer.capture_rows

    def within_memory(model, rows, points, **options):
        if len(rows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plainly(model, rows, points, **options)

    monkeypatch.setattr(trainer, "capture_rows", within_memory)
    np.testing.assert_allclose(scarce.step(ROWS), expected, rtol=1e-5)
    torch.testing.assert_close(scarce.translators.weights, whole.translators.weights, atol=1e-6, rtol=1e-4)
    assert scarce._meter.backoffs == 2


def test_logits_are_held_for_a_slice_only(loaded, monkeypatch):
    model = loaded("llama")
    monkeypatch.setattr(trainer, "CPU_SLICE", 2 * model.anatomy.vocabulary)
    made, shapes = training(model), []
    plainly = made._logits
    monkeypatch.setattr(made, "_logits", lambda rows: shapes.append(rows.shape) or plainly(rows))
    made.step(ROWS)
    assert {len(shape) for shape in shapes} == {2}
    assert max(shape[0] for shape in shapes) == 2


def test_rows_are_cut_divided_and_drawn():
    assert pieces((1, 2, 3, 4, 5), 2) == [(1, 2), (3, 4), (5,)]
    texts = [[(n, n), (n,)] for n in range(10)]
    train, held = held_out(texts, 0.3, seed=4)
    assert len(held) == 6
    assert not {row[0] for row in train} & {row[0] for row in held}
    assert held_out(texts, 0.3, seed=4) == (train, held)
    assert held_out(texts, 0.3, seed=5) != (train, held)
    assert held_out([[(1,), (2,), (3,)]], 0.1, seed=0) == ([(1,), (2,)], [(3,)])
    draws = drawn([(n,) for n in range(6)], 3, seed=0)
    first = next(draws) + next(draws)
    assert sorted(first) == [(n,) for n in range(6)]
    assert list(longest_first([(1,), (1, 2, 3), (1, 2)], lambda rows, tokens: rows * tokens <= 4)) == [
        [(1, 2, 3)],
        [(1, 2), (1,)],
    ]
