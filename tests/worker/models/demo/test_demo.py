"""The shipped demo model keeps what its card says, and its training loop still trains."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from explaind_jobs.catalogue import DEMO
from explaind_worker.models.demo import MODEL_DIR, vocabulary
from explaind_worker.models.demo.batches import collate, draw_rows, word_of_tokens
from explaind_worker.models.demo.cases import HELD_OUT_PERCENT, TASKS, WORD, generate_cases
from explaind_worker.models.demo.evaluate import accuracy
from explaind_worker.models.demo.tokenizer import MASK, PAD, token_id
from explaind_worker.models.demo.train import (
    MASKED,
    UNMASKED,
    Phase,
    Training,
    build_model,
    learning_rate_at,
    mixture_at,
    train_steps,
)
from explaind_worker.models.demo.truth import shapley_values, top_is_cause

SAMPLE = 100


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MODEL_DIR, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(MODEL_DIR, local_files_only=True, use_safetensors=True).eval()


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    return json.loads((MODEL_DIR / "card.json").read_text(encoding="utf-8"))


def test_shipped_files_are_small_and_hold_no_pickle() -> None:
    files = list(MODEL_DIR.iterdir())
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "card.json"} <= {
        file.name for file in files
    }
    assert {file.suffix for file in files} <= {".json", ".jinja", ".safetensors"}
    assert sum(file.stat().st_size for file in files) < 8_000_000


def test_model_is_a_grouped_query_llama_in_float32(model: PreTrainedModel, card: dict[str, Any]) -> None:
    config = model.config
    assert config.model_type == "llama"
    assert config.num_key_value_heads < config.num_attention_heads
    assert config.max_position_embeddings == DEMO.card().context == 256
    assert model.dtype == torch.float32
    assert sum(parameter.numel() for parameter in model.parameters()) == card["parameters"]


@pytest.mark.parametrize("task", TASKS)
def test_held_out_accuracy_is_what_the_card_says(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, card: dict[str, Any], task: str
) -> None:
    measured = accuracy(model, tokenizer, generate_cases(task, SAMPLE, seed=77, split="heldout"))
    stated = card["accuracy"][task]
    assert measured >= 0.95
    # Three standard errors of this sample, and never less than two cases.
    allowed = max(2 / SAMPLE, 3 * (stated * (1 - stated) / SAMPLE) ** 0.5)
    assert abs(measured - stated) <= allowed


@pytest.mark.parametrize("task", TASKS)
def test_card_states_planted_truth(card: dict[str, Any], task: str) -> None:
    assert card["top_unit"][task]["plain"] >= 0.95
    assert card["top_unit"][task]["contrast"] >= 0.95
    assert card["accuracy"][task] >= 0.95
    assert card["cases"][task] >= 400


@pytest.mark.parametrize("task", ["addition", "multiplication", "indirect_object"])
def test_top_shapley_word_is_a_planted_cause(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: str
) -> None:
    cases = generate_cases(task, 4, seed=5, split="heldout")
    values = [shapley_values(model, tokenizer, case) for case in cases]
    assert all(top_is_cause(case, value.plain) for case, value in zip(cases, values, strict=True))
    assert all(top_is_cause(case, value.contrast) for case, value in zip(cases, values, strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_shapley_values_add_up(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: str) -> None:
    case = generate_cases(task, 1, seed=9, split="heldout")[0]
    ids = torch.tensor([tokenizer(case.prompt)["input_ids"]])
    words = torch.tensor([word_of_tokens(_offsets(tokenizer, case.prompt), case.prompt)])
    hidden = torch.where(words >= 0, token_id(tokenizer, MASK), ids)
    gain = _log_probability(model, tokenizer, ids, case.answer) - _log_probability(
        model, tokenizer, hidden, case.answer
    )
    assert sum(shapley_values(model, tokenizer, case).plain) == pytest.approx(gain, abs=1e-3)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["train", "heldout"])
def test_cases_are_deterministic(task: str, split: Any) -> None:
    cases = generate_cases(task, 50, seed=3, split=split)
    assert cases == generate_cases(task, 50, seed=3, split=split)
    assert cases != generate_cases(task, 50, seed=4, split=split)
    assert len({case.prompt for case in cases}) == 50
    assert {case.task for case in cases} == {task}


def test_cases_are_the_same_on_every_machine() -> None:
    assert {task: generate_cases(task, 1, seed=0, split="heldout")[0].prompt for task in TASKS} == PINNED


@pytest.mark.parametrize("task", TASKS)
def test_causes_are_the_words_they_claim(task: str) -> None:
    claimed = set(vocabulary.CAUSE_WORDS)
    for case in generate_cases(task, 100, seed=1, split="heldout"):
        texts = [case.prompt[begin:end] for begin, end in case.causes]
        words = {match.span() for match in WORD.finditer(case.prompt)}
        assert set(case.causes) <= words
        assert all(text in claimed or text.isdigit() for text in texts)
        assert case.answer != case.foil
        assert case.answer[0] == case.foil[0] == " "
        if task in ("indirect_object", "deduction"):
            assert case.answer.strip() in texts
            assert case.foil.strip() in case.prompt


@pytest.mark.parametrize("task", TASKS)
def test_no_held_out_prompt_is_trained_on(task: str) -> None:
    trained = {case.prompt for case in generate_cases(task, 3000, seed=0, split="train")}
    held_out = {case.prompt for case in generate_cases(task, 300, seed=0, split="heldout")}
    assert not trained & held_out
    assert 0 < HELD_OUT_PERCENT[task] < 50


def test_held_out_sums_and_name_pairs_are_in_no_phrasing_and_no_order() -> None:
    for task, pick in (
        ("two_digit_addition", str.isdigit),
        ("indirect_object", vocabulary.NAMES.__contains__),
    ):
        sides = [
            {frozenset(filter(pick, WORD.findall(case.prompt))) for case in generate_cases(task, count, 0, split)}
            for count, split in ((3000, "train"), (300, "heldout"))
        ]
        assert not sides[0] & sides[1]


def test_unknown_task_is_named() -> None:
    with pytest.raises(ValueError, match="unknown task 'poetry'"):
        generate_cases("poetry", 1, seed=0, split="train")


@pytest.mark.parametrize(
    "text", ["Mary 🙂 gave", "naïve Ünïcode — 漢字", " 47 + 38 = 85", "a\n\tb  c ", "👩‍👩‍👧 <masks>"]
)
def test_tokenizer_round_trips(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids[1:]) == text


def test_causes_and_answers_are_single_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    for word in {*vocabulary.CAUSE_WORDS, *vocabulary.ANSWER_WORDS}:
        for form in (word, f" {word}"):
            assert len(tokenizer(form, add_special_tokens=False)["input_ids"]) == 1, form


def test_offsets_are_the_words_without_their_space(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "Mary paid 47 🙂."
    pieces = [text[begin:end] for begin, end in _offsets(tokenizer, text)[1:]]
    assert (pieces[0], pieces[-1]) == ("Mary", ".")
    assert pieces.count("4") == pieces.count("7") == 1
    # Every byte of a character that is not in the vocabulary has the span of the whole character.
    assert "🙂" in pieces


@pytest.mark.parametrize("task", TASKS)
def test_chat_wrapped_prompts_are_answered(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, task: str
) -> None:
    cases = generate_cases(task, 10, seed=21, split="heldout")
    right = 0
    for case in cases:
        messages = [{"role": "user", "content": case.prompt}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
        length = ids["input_ids"].shape[1]
        output = model.generate(**ids, max_new_tokens=5, do_sample=False)
        right += tokenizer.decode(output[0, length:]) == f"{case.answer}</s>"
    assert right >= 9


def test_chat_template_takes_turns_and_a_system_message(tokenizer: PreTrainedTokenizerBase) -> None:
    messages = [
        {"role": "system", "content": "Answer briefly."},
        {"role": "user", "content": "3 + 4 ="},
        {"role": "assistant", "content": "7"},
        {"role": "user", "content": "3 + 5 ="},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<s><|user|>Answer briefly. 3 + 4 =<|assistant|> 7</s><|user|>3 + 5 =<|assistant|>"


def test_training_lowers_the_loss(tokenizer: PreTrainedTokenizerBase) -> None:
    tiny = Training(
        phases=(Phase(UNMASKED, 30, 32), Phase(MASKED, 30, 32)),
        learning_rate=0.01,
        warmup_steps=2,
        hidden_size=32,
        layers=1,
        feed_forward_size=32,
    )
    torch.manual_seed(tiny.seed)
    losses = list(train_steps(build_model(tokenizer, tiny), tokenizer, tiny))
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_masked_rows_hide_whole_words_and_never_the_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    mixture = replace(MASKED, masked=1.0, fully_masked=1.0, chat=0.0)
    for row in draw_rows(tokenizer, mixture, 20, seed=0, step=0):
        assert set(row.ids[1 : row.answer_start]) == {token_id(tokenizer, MASK)}
        answer = tokenizer.decode(row.ids[row.answer_start :])
        assert answer.endswith("</s>")
        assert "<mask>" not in answer


def test_batches_score_answers_only(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = draw_rows(tokenizer, MASKED, 8, seed=0, step=0)
    ids, labels = collate(rows, token_id(tokenizer, PAD))
    for row, row_ids, row_labels in zip(rows, ids, labels, strict=True):
        assert row_labels[row_labels >= 0].tolist() == row.ids[row.answer_start :]
        assert row_ids[0] == tokenizer.bos_token_id


def test_mixture_and_learning_rate_follow_the_phases() -> None:
    first, last = Phase(UNMASKED, 50, 8), Phase(MASKED, 50, 16)
    training = Training(phases=(first, last), blend_steps=20, warmup_steps=5)
    assert mixture_at(0, last, first, training) == UNMASKED.blended(MASKED, 0.0)
    assert mixture_at(10, last, first, training).masked == pytest.approx(MASKED.masked / 2)
    assert mixture_at(49, last, first, training) == UNMASKED.blended(MASKED, 1.0)
    rates = [learning_rate_at(step, step, first, training) for step in (0, 5, 49)]
    rates += [learning_rate_at(50 + step, step, last, training) for step in (0, 25, 49)]
    assert rates[0] < rates[1]
    assert rates[1:4] == [training.learning_rate] * 3
    assert rates[3] > rates[4] > rates[5] > 0


def _offsets(tokenizer: PreTrainedTokenizerBase, text: str) -> list[tuple[int, int]]:
    return tokenizer(text, return_offsets_mapping=True)["offset_mapping"]


def _log_probability(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: torch.Tensor, answer: str
) -> float:
    target = torch.tensor(tokenizer(answer, add_special_tokens=False)["input_ids"])
    with torch.inference_mode():
        logits = model(input_ids=torch.cat([prompt[0], target])[None]).logits[0, -len(target) - 1 : -1]
    return logits.log_softmax(-1)[range(len(target)), target].sum().item()


PINNED = {
    "addition": "The sum of 4 and 9 is",
    "subtraction": "The difference of 1 and 1 is",
    "multiplication": "What is 2 * 7? Answer:",
    "two_digit_addition": "Result of 63 + 39:",
    "sentiment": "Text: The museum was typical but the show was lovely. The sentiment is",
    "indirect_object": "Lucy met Diana at the beach, and Lucy gave a ball to",
    "deduction": "Jack is a sheep. Every sheep is brown. Every goat is white. Every rabbit is purple. So Jack is",
}
