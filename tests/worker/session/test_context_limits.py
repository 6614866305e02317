"""What fits the context exactly is taken, one token more is refused; in every method that reads a prompt."""

import pytest

from explaind.contract.errors import PromptTooLong, TargetTooLong

CONTEXT = 128
METHODS = {
    "explain/feature-ablation": {"units": {"segments": [[0, 40]]}},
    "explain/saliency": {},
    "explain/integrated-gradients": {"n_steps": 2},
    "explain/logit-lens": {},
    "explain/logit-attribution": {},
    "infer/score": {},
}
# One token each: the tiny models' words, after a start token.
WORDS = " the food was great" * 40


@pytest.fixture
def asked(loaded):
    """`asked("gpt2", 3)`: a prompt and a target of so many tokens that fill the context but for the last of them."""

    def request(family: str, target: int, more: int = 0) -> dict:
        encoder = loaded(family).encoder
        ids = encoder.tokenizer.encode(WORDS, add_special_tokens=False)
        words = [encoder.text_of([token], after=ids[:1]) for token in ids]
        begin = len(encoder.tokenizer.encode(""))
        tokens = CONTEXT - (target - 1) + more - begin
        prompt = "".join(words[:tokens])
        return {"prompt": prompt, "target": {"token_ids": ids[:target]}}

    return request


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [1, 3])
def test_prompt_and_target_may_fill_the_context(run, tiny_model, loaded, asked, method, target):
    encoder, request = loaded("gpt2").encoder, asked("gpt2", target)
    assert len(encoder.tokenizer.encode(request["prompt"])) + target - 1 == CONTEXT
    assert run(method, entry=tiny_model("gpt2"), **request, **METHODS[method]) is not None
    with pytest.raises((TargetTooLong, PromptTooLong)):
        run(method, entry=tiny_model("gpt2"), **asked("gpt2", target, more=1), **METHODS[method])


def test_a_generation_may_fill_the_context(run, tiny_model, asked):
    prompt = asked("gpt2", 4)["prompt"]
    found = run("infer/generate", entry=tiny_model("gpt2"), prompt=prompt, max_new_tokens=4)
    assert len(found.tokens) <= 4
    with pytest.raises(TargetTooLong, match="all but the last of which are read"):
        run("infer/generate", entry=tiny_model("gpt2"), prompt=prompt, max_new_tokens=5)


def test_a_text_in_place_of_units_is_counted_with_the_tokens_that_go(run, tiny_model, asked):
    request = asked("gpt2", 3)
    unit = {"segments": [[0, len(request["prompt"])]]}
    assert run(
        "explain/feature-ablation", entry=tiny_model("gpt2"), baseline={"text": " the food was"}, units=unit, **request
    ).values
    short = asked("gpt2", 3, more=-1)
    with pytest.raises(PromptTooLong, match="a row has up to 129 tokens with 2 of the target") as caught:
        run(
            "explain/feature-ablation",
            entry=tiny_model("gpt2"),
            baseline={"text": " the food was"},
            units={"segments": [[len(short["prompt"]) - 6, len(short["prompt"])]]},
            **short,
        )
    assert caught.value.errors[0].pointer == "/baseline"
