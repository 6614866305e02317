import pytest
import torch

from explaind.contract.blocks.subject import PromptRequest

PROMPT = "Once upon a time Mary gave"


def test_generate_gives_each_token_its_text_and_logprob(run):
    result = run("infer/generate", prompt=PROMPT, max_new_tokens=6, top_logprobs=2)
    assert result.text == "".join(t.text for t in result.tokens)
    assert result.logprob == pytest.approx(sum(t.logprob for t in result.tokens))
    assert all(t.rank == 0 and t.top[0].id == t.id for t in result.tokens)
    assert all(len(t.top) == 2 for t in result.tokens)
    assert result.finish_reason == "length"


def test_generate_and_score_agree(run):
    said = run("infer/generate", prompt=PROMPT, max_new_tokens=6)
    scored = run("infer/score", prompt=PROMPT, target={"token_ids": [t.id for t in said.tokens]}, top_logprobs=1)
    assert [t.logprob for t in scored.tokens] == pytest.approx([t.logprob for t in said.tokens], abs=1e-4)
    assert scored.text == said.text
    assert all(t.rank == 0 for t in scored.tokens)


def test_a_stop_text_ends_and_is_cut(run):
    free = run("infer/generate", prompt=PROMPT, max_new_tokens=8)
    stop = free.text[3:5]
    result = run("infer/generate", prompt=PROMPT, max_new_tokens=8, stop=[stop, "never said"])
    assert result.finish_reason == "stop"
    assert result.text == free.text[: free.text.index(stop)]
    assert len(result.tokens) < len(free.tokens)


def test_an_end_token_ends(loaded, run):
    model = loaded("llama")
    first = run("infer/generate", prompt=PROMPT, max_new_tokens=1).tokens[0].id
    ends, model.end_ids = model.end_ids, frozenset({first})
    try:
        result = run("infer/generate", prompt=PROMPT, max_new_tokens=8)
        assert (result.finish_reason, result.text, len(result.tokens)) == ("end", "", 1)
    finally:
        model.end_ids = ends


def test_prompt_logprobs_cover_the_prompt_as_written(loaded, run):
    model = loaded("llama")
    ids = model.encoder.prompt(PromptRequest(model="m", prompt=PROMPT)).token_ids
    result = run("infer/score", prompt=PROMPT, target=" the", prompt_logprobs=True)
    assert [t.id for t in result.prompt_tokens] == list(ids)
    assert "".join(t.text for t in result.prompt_tokens[1:]) == PROMPT
    assert result.prompt_tokens[0].logprob is None
    with torch.no_grad():
        logprobs = model.network(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [float(logprobs[i - 1, ids[i]]) for i in range(1, len(ids))]
    assert [t.logprob for t in result.prompt_tokens[1:]] == pytest.approx(expected, abs=1e-4)


def test_perplexity_is_of_the_mean_token(run):
    result = run("infer/score", prompt=PROMPT, target=" the store")
    mean = result.logprob / len(result.tokens)
    assert result.perplexity == pytest.approx(2.718281828459045**-mean, rel=1e-6)


def test_tokenize_needs_no_weights(tiny_model):
    from explaind.contract.registry import find_method
    from explaind_worker.models.pool.pool import ModelPool
    from explaind_worker.runtime.runner import implementation_of
    from explaind_worker.session.session import Session

    method, fresh = find_method("infer/tokenize"), ModelPool()
    request = method.params_model.model_validate({"model": "m", "prompt": "The food 😀", "units": "word"})
    result = implementation_of(method)(request, Session(tiny_model("llama"), fresh, lambda *_: None))
    assert fresh.resident() == []
    assert result.count == len(result.tokens)
    assert result.tokens[0].special
    assert result.tokens[0].start is None
    assert [u.text for u in result.units] == ["The", "food", "😀"]
    by_unit = [t.unit for t in result.tokens if t.unit is not None]
    assert by_unit == sorted(by_unit)


@pytest.mark.parametrize("units", ["token", "word", "sentence"])
def test_space_alone_has_tokens_and_no_word(run, units):
    found = run("infer/tokenize", prompt="\n", units=units)
    assert found.count == len(found.tokens) >= 1
    assert len(found.units) == (1 if units == "token" else 0)
