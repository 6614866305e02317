"""The looks inside on a real trained Llama, and on real questions of GSM8K."""

import json

import numpy as np
import pytest
import torch

from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from tests.support.memory_files import KeptFiles

pytestmark = pytest.mark.real

STORY = "Once upon a time there was a little girl named"
STORIES = [
    {"question": STORY, "answer": " Lily", "foil": " Tim"},
    {"question": "Once upon a time there was a little boy named", "answer": " Tim", "foil": " Lily"},
    {"question": "Lily was very sad. Her mom gave her a big", "answer": " hug", "foil": " tree"},
]


@pytest.fixture(scope="module")
def ask(real_inputs):
    pool, entry = ModelPool(), ModelEntry(name="stories260K", path=real_inputs / "stories260K")
    files = KeptFiles()

    def run(path, **fields):
        method = find_method(path)
        with Session(entry, pool, lambda *_: None, files=files) as session:
            found = implementation_of(method)(
                method.params_model.model_validate({"model": entry.name, **fields}), session
            )
            return found, session.model_access.model()

    return run


def test_the_lens_ends_where_the_model_does(ask):
    lens, model = ask("explain/logit-lens", prompt=STORY, target=" Lily")
    ids = model.encoder.tokenizer(STORY, return_tensors="pt").input_ids
    with torch.inference_mode():
        best = model.network(ids).logits[0].double().softmax(-1).max(-1)
    last = lens.stream("resid_post")
    places = range(ids.shape[1])
    np.testing.assert_allclose([last.top_probabilities[-1][p][0] for p in places], best.values, atol=1e-5)
    assert [last.top_ids[-1][p][0] for p in places] == best.indices.tolist()
    divergence = np.array(last.divergence).mean(axis=1)
    assert divergence[-1] < 1e-6
    assert divergence[0] > divergence[-2] > 0.05, "each layer comes nearer"


def test_the_logit_adds_up(ask):
    found, _ = ask("explain/logit-attribution", prompt=STORY, target=" Lily", foil=" Tim")
    assert abs(found.gap) < 1e-3
    assert found.accumulated[-1] == pytest.approx(found.logit, abs=1e-3)


def test_heads_are_told_apart_and_the_first_pass_agrees(ask):
    questions = {"questions": STORIES}
    exact, model = ask("explain/head-ablation", questions=questions, metric="logit_difference")
    grid = np.array(exact.grid)
    assert grid.shape == (len(model.anatomy.blocks), model.anatomy.heads)
    assert exact.clean_mean > 1
    assert exact.ranking.effects[0] == pytest.approx(grid.max())
    assert exact.ranking.effects[0] > 0.3
    first, _ = ask(
        "explain/head-ablation",
        questions=questions,
        metric="logit_difference",
        first_pass={"method": "attribution-patching", "top_k": grid.size},
    )
    assert first.first_pass.spearman > 0.5


def test_a_tuned_lens_is_nearer_at_every_layer_but_the_last(ask, real_inputs):
    lines = (real_inputs / "tweet_sentiment" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines[:200]]
    found, _ = ask("train/tuned-lens", text=texts, steps=25, batch_tokens=512)
    kept = found.held_out
    assert all(t < p for t, p in zip(kept.tuned_lens[:-1], kept.logit_lens[:-1], strict=True))


def test_it_does_not_know_gsm8k(ask, real_inputs):
    rows = [
        json.loads(line) for line in (real_inputs / "gsm8k" / "test100.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    questions = [{"question": row["question"], "answer": row["answer"]} for row in rows[:4]]
    found, _ = ask("evaluate/questions", questions={"questions": questions}, max_new_tokens=12)
    assert found.total.right == 0
    assert sum(failure.count for failure in found.failures) == 4
    assert all(question.answer.strip().isdigit() for question in found.questions), "the number behind ####"
