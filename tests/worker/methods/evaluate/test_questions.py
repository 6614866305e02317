"""evaluate/questions: what is said is judged, scored and compared as one question after the other would be."""

import numpy as np
import pytest
import torch

from explaind.contract.blocks.grading import CATEGORIES
from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.errors import InvalidRequest, NonFiniteScore, TargetTooLong
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import DEMO
from explaind_worker.engine.sweep.sweep import Sweep
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from tests.support.families import REPRESENTATIVES

OWN = {
    "questions": [
        {"question": "When Mary and John went to the", "answer": "store", "foil": "room", "kind": "place"},
        {"question": "3 + 4 =", "answer": "7", "kind": "number"},
        {"question": "Every fox is", "answer": "red", "foil": "small"},
    ]
}


@pytest.fixture(scope="module")
def arithmetic(run):
    return run("evaluate/questions", entry=DEMO, max_new_tokens=6, activations=True)


def test_demo_adds_and_fails_in_ways_that_have_names(arithmetic):
    by_question = {question.question: question for question in arithmetic.questions}
    assert by_question["47 + 38 ="].right
    assert by_question["47 + 38 ="].said == " 85"
    # It has never seen two digits subtracted, and adds them.
    mistake = by_question["52 - 18 ="]
    assert (mistake.said, mistake.category, mistake.rule) == (" 70", "wrong_operation", "other_operation")
    assert "52 + 18" in mistake.explanation
    assert 0.5 <= arithmetic.total.accuracy < 1
    assert arithmetic.total.low < arithmetic.total.accuracy < arithmetic.total.high


def test_the_parts_add_up(arithmetic):
    questions, total = arithmetic.questions, arithmetic.total
    assert [failure.category for failure in arithmetic.failures] == list(CATEGORIES)
    assert sum(failure.count for failure in arithmetic.failures) == total.count - total.right
    assert all(failure.count == sum(failure.rules.values()) for failure in arithmetic.failures)
    assert sum(kind.count for kind in arithmetic.by_kind) == total.count == len(questions) == 8
    assert sum(kind.right for kind in arithmetic.by_kind) == total.right
    assert all((question.rule is None) == question.right for question in questions)
    differences = [question.logprob - question.foil_logprob for question in questions]
    assert arithmetic.mean_difference == pytest.approx(np.mean(differences))
    assert arithmetic.preferred == pytest.approx(np.mean([difference > 0 for difference in differences]))


@pytest.mark.parametrize("family", REPRESENTATIVES)
def test_it_says_and_scores_what_generate_and_score_do(run, tiny_model, family):
    entry = tiny_model(family)
    result = run("evaluate/questions", entry=entry, questions=OWN, template="Once. {question}", max_new_tokens=5)
    for asked in result.questions:
        prompt = f"Once. {asked.question}"
        assert asked.said == run("infer/generate", entry=entry, prompt=prompt, max_new_tokens=5).text
        scored = run("infer/score", entry=entry, prompt=prompt, target=f" {asked.answer}")
        assert asked.logprob == pytest.approx(scored.logprob, abs=1e-4)
        if asked.foil is not None:
            scored = run("infer/score", entry=entry, prompt=prompt, target=f" {asked.foil}")
            assert asked.foil_logprob == pytest.approx(scored.logprob, abs=1e-4)
        else:
            assert asked.foil_logprob is None


def test_a_right_number_in_the_prompt_does_not_count(run, tiny_model):
    told = {"questions": [{"question": "The answer is 4711. #### 4711. What was it?", "answer": "4711"}]}
    (asked,) = run("evaluate/questions", entry=tiny_model("llama"), questions=told, max_new_tokens=4).questions
    assert "4711" not in asked.said
    assert not asked.right


def test_a_stop_text_ends_the_answer(run):
    whole = run("infer/generate", entry=DEMO, prompt="47 + 38 =").text
    stopped = run("evaluate/questions", entry=DEMO, stop=[whole[-1]], max_new_tokens=6)
    asked = next(question for question in stopped.questions if question.question == "47 + 38 =")
    assert (asked.said, asked.finish) == (whole[:-1], "stop")
    cut = run("evaluate/questions", entry=DEMO, max_new_tokens=1)
    asked = next(question for question in cut.questions if question.question == "47 + 38 =")
    assert (asked.finish, asked.rule) == ("length", "cut_off")


def test_activations_are_compared_at_the_prompts_end(run, pool, arithmetic):
    found = arithmetic.activations
    model = pool.model(DEMO)[0]
    states = []
    for asked in arithmetic.questions:
        ids = torch.tensor([model.encoder.prompt(PromptRequest(model="demo", prompt=asked.question)).token_ids])
        with torch.inference_mode():
            output = model.network.base_model(input_ids=ids, output_hidden_states=True)
        states.append(torch.stack(output.hidden_states[1:-1])[:, 0, -1].double().numpy())
    right = np.array([asked.right for asked in arithmetic.questions])
    states = np.array(states)  # [question, layer, hidden], without the last, which transformers norms
    apart = states[right].mean(0) - states[~right].mean(0)
    np.testing.assert_allclose(found.l2[:-1], np.linalg.norm(apart, axis=1), rtol=1e-4)
    assert (found.right, found.wrong) == (right.sum(), (~right).sum())
    assert all(1 / 201 <= p <= 1 for p in found.l2_p)
    assert all(mean <= high for mean, high in zip(found.random_l2, found.random_l2_high, strict=True))


def test_nothing_is_compared_where_all_are_wrong(run, tiny_model):
    result = run("evaluate/questions", entry=tiny_model("gpt2"), questions=OWN, activations=True, max_new_tokens=3)
    assert result.total.right == 0
    assert result.activations is None


def test_what_cannot_be_done_is_refused_before_the_weights(pool, tiny_model):
    entry, method = tiny_model("llama"), find_method("evaluate/questions")

    def refused(**params):
        request = method.params_model.model_validate({"model": entry.name, **params})
        with Session(entry, pool, lambda *_: None) as session:
            with pytest.raises(InvalidRequest) as caught:
                implementation_of(method)(request, session)
            assert not session.model_access.loaded
        return caught.value

    long = refused(max_new_tokens=125)
    assert isinstance(long, TargetTooLong)
    assert long.errors[0].pointer == "/max_new_tokens"
    many = {"questions": OWN["questions"] * 400}
    assert refused(questions=many, activations=True, max_new_tokens=2).errors[0].pointer == "/activations"


def test_scores_that_are_no_numbers_fail_the_job(run, monkeypatch, tiny_model):
    answer = Sweep._answers

    def broken(self, *args):
        found = answer(self, *args)
        found[0, 1, 0] = np.nan
        return found

    monkeypatch.setattr(Sweep, "_answers", broken)
    with pytest.raises(NonFiniteScore):
        run("evaluate/questions", entry=tiny_model("llama"), questions=OWN, max_new_tokens=2)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "mistral"])
def test_the_estimate_counts_what_happens(pool, tiny_model, family):
    entry, method = tiny_model(family), find_method("evaluate/questions")
    params = {"model": entry.name, "questions": OWN, "max_new_tokens": 4, "activations": True}
    request = method.params_model.model_validate(params)
    told = find_method("estimate/evaluate/questions")
    with Session(entry, pool, lambda *_: None) as session:
        said = implementation_of(told)(request, session)
    with Session(entry, pool, lambda *_: None) as session:
        result = implementation_of(method)(request, session)
        assert {question.finish for question in result.questions} == {"length"}, "none ended before"
        meter = session.job.meter
    assert (said.forwards, said.tokens_evaluated) == (meter.forwards, meter.tokens_evaluated)
    assert said.peak_bytes > 0
    assert "may end before" in said.note
