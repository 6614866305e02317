"""explain/attention: what is shown, what is scored, what is refused."""

import numpy as np
import pytest
import torch

from explaind.contract.errors import InvalidRequest, RequestTooLarge, WrongModelKind
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.methods.explain import attention
from explaind_worker.models.loading.loading import size_of
from explaind_worker.models.pool.memory_budget import MemoryBudget
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.models.structure.attention_implementation import using_attention
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session

PATH = "explain/attention"
PROMPT = "Mary and John went, Mary and John"
DEMO = ModelEntry(name="demo", builtin=True)


def test_the_heads_that_are_asked_for_are_shown(run, loaded):
    result = run(PATH, prompt=PROMPT, layers=[2], heads=[[0, 1], [2, 3]], queries=[5, 0, 9])
    assert [(pattern.layer, pattern.head) for pattern in result.patterns] == [(2, 0), (2, 1), (2, 2), (2, 3), (0, 1)]
    network = loaded("llama").network
    with torch.inference_mode(), using_attention(network, "eager"):
        theirs = network(input_ids=torch.tensor([result.token_ids]), output_attentions=True).attentions
    for pattern in result.patterns:
        assert [len(row) for row in pattern.weights] == [6, 1, 10], "keys up to the query itself"
        for query, row in zip(result.queries, pattern.weights, strict=True):
            np.testing.assert_allclose(row, theirs[pattern.layer][0, pattern.head, query, : query + 1], rtol=1e-6)
            assert sum(row) == pytest.approx(1.0, abs=1e-5)
    assert len(result.tokens) == len(result.token_ids)
    assert "".join(result.tokens[1:]) == PROMPT


def test_the_most_telling_heads_are_shown_by_default(run):
    result = run(PATH, prompt=PROMPT)
    scores = result.scores
    for kind in ("previous_token", "duplicate_token", "induction", "current_token"):
        values = np.array(getattr(scores, kind))
        assert values.shape == (3, 4)
        strongest = np.unravel_index(values.argmax(), values.shape)
        assert strongest in [(pattern.layer, pattern.head) for pattern in result.patterns]
    assert result.queries == list(range(len(result.tokens)))
    assert result.probe.tokens == 50
    assert np.array(result.probe.induction).shape == (3, 4)
    assert result.notes == []


def test_labels_are_heads_above_the_threshold(run):
    few, many = (run(PATH, prompt=PROMPT, threshold=threshold, induction_probe=False) for threshold in (0.99, 0.05))
    assert len(few.labels) < len(many.labels)
    assert few.probe is None
    for label in many.labels:
        assert label.score == getattr(many.scores, label.label)[label.layer][label.head] >= 0.05
    assert [label.score for label in many.labels] == sorted((label.score for label in many.labels), reverse=True)
    shown = many.patterns[0]
    assert set(shown.labels) == {
        label.label for label in many.labels if (label.layer, label.head) == (shown.layer, shown.head)
    }


def test_an_induction_head_is_found_by_the_probe(run, loaded, monkeypatch):
    """Attention that is made to look after the last occurrence is called induction; what random weights do is not."""
    plain = run(PATH, prompt="Every fox", probe_tokens=10)
    assert not [label for label in plain.labels if label.label == "induction"]
    module = loaded("llama").anatomy.blocks[1].attention
    forward = module.forward

    def looking_for_repeats(*args, **named):
        out, weights = forward(*args, **named)
        length = weights.shape[-1]
        made = weights.clone()
        for query in range(11, length):  # of the probe: a start token, and ten tokens twice
            made[0, 2, query] = torch.eye(length)[query - 9]
        return out, made

    monkeypatch.setattr(module, "forward", looking_for_repeats)
    found = run(PATH, prompt="Every fox", probe_tokens=10)
    assert found.probe.induction[1][2] == pytest.approx(1.0)
    assert ("induction", 1, 2) in [(label.label, label.layer, label.head) for label in found.labels]
    assert found.scores.induction is None, "the prompt repeats nothing"


def test_the_probes_tokens_are_those_of_the_seed(run):
    same = [run(PATH, prompt=PROMPT, seed=seed, probe_tokens=8).probe for seed in (3, 3, 4)]
    assert same[0] == same[1]
    assert same[0].induction != same[2].induction


def test_special_tokens_may_be_sinks(run):
    first, special = (run(PATH, prompt="The food</s> was great", special_as_sink=flag) for flag in (False, True))
    assert first.sinks == [0]
    assert [special.tokens[place] for place in special.sinks] == ["<s>", "</s>"]
    assert np.all(np.array(special.scores.sink) > np.array(first.scores.sink))
    assert first.scores.sink == first.scores.first_token


@pytest.mark.parametrize(
    ("params", "error", "pointer"),
    [
        ({"layers": [3]}, InvalidRequest, "/layers/0"),
        ({"heads": [[0, 0], [1, 4]]}, InvalidRequest, "/heads/1"),
        ({"queries": [0, 99]}, InvalidRequest, "/queries/1"),
        ({"queries": [1, 2, 3], "layers": [0]}, RequestTooLarge, "/queries"),
        ({"layers": [0, 1, 2]}, RequestTooLarge, "/layers"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_the_weights_are_touched(
    tiny_model, params, error, pointer, monkeypatch, run
):
    monkeypatch.setattr(attention, "MOST_WEIGHTS", 100)
    monkeypatch.setattr(ModelPool, "pin", lambda *_, **__: pytest.fail("the weights were touched"))
    with pytest.raises(error) as caught:
        run(PATH, prompt=PROMPT, **params)
    assert caught.value.errors[0].pointer == pointer


def test_a_long_prompt_is_shown_at_its_last_positions(run, monkeypatch):
    monkeypatch.setattr(attention, "MOST_WEIGHTS", 4 * 5 * 20)
    result = run(PATH, prompt="food " * 18)
    tokens = len(result.tokens)
    fitting = 4 * 5 * 20 // (4 * tokens)
    assert result.queries == list(range(tokens - fitting, tokens))
    assert "last" in result.notes[0]


def test_a_chat_is_read_as_its_template_writes_it(run):
    result = run(PATH, messages=[{"role": "user", "content": "The food was great"}])
    assert "".join(result.tokens) == result.prompt == "<s><|user|>The food was great<|assistant|>"


def test_naming_something_twice_or_asking_a_classifier_is_refused(run, tiny_classifier):
    with pytest.raises(ValueError, match="named twice"):
        run(PATH, prompt=PROMPT, layers=[1, 1])
    with pytest.raises(WrongModelKind):
        run(PATH, entry=tiny_classifier("llama"), prompt=PROMPT)


def test_weights_that_are_written_out_need_their_room(tiny_model, run):
    """Fused attention would fit; the weights of all heads at once do not."""
    entry = tiny_model("llama")
    tight = ModelPool(MemoryBudget(size_of(entry) + 400_000))
    method = find_method(PATH)
    params = method.params_model.model_validate({"model": entry.name, "prompt": "food " * 60, "induction_probe": False})
    with Session(entry, tight, lambda *_: None) as session, pytest.raises(RequestTooLarge, match="needs"):
        implementation_of(method)(params, session)


def test_the_demo_has_a_first_answer(run):
    result = run(PATH, entry=DEMO, prompt="When Mary and John went to the store, John gave a drink to")
    assert result.tokens[1:4] == ["When", "Mary", "and"]
    assert result.patterns
    for pattern in result.patterns:
        for row in pattern.weights:
            assert sum(row) == pytest.approx(1.0, abs=1e-5)
