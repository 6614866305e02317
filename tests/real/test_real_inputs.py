"""The methods on a real trained Llama and on real tweets."""

import json

import numpy as np
import pytest
import torch

from explaind.contract.methods.explain.feature_ablation import FeatureAblationParams
from explaind.contract.methods.explain.shap import ShapParams
from explaind.contract.methods.infer.generate import GenerateParams
from explaind.contract.methods.infer.tokenize import TokenizeParams
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.methods.explain import feature_ablation, shap
from explaind_worker.methods.infer import generate, tokenize
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.session.session import Session

pytestmark = pytest.mark.real

STORY = "Once upon a time there was a little girl named"


@pytest.fixture(scope="module")
def session(real_inputs):
    pool, entry = ModelPool(), ModelEntry(name="stories260K", path=real_inputs / "stories260K")
    return lambda: Session(entry, pool, lambda *_: None)


@pytest.fixture(scope="module")
def tweets(real_inputs):
    lines = (real_inputs / "tweet_sentiment" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_the_model_tells_its_story(session):
    said = generate.run(GenerateParams(model="stories260K", prompt="Once upon a time", max_new_tokens=24), session())
    assert said.text.startswith(", there was a little girl named Lily. She loved to play")


def test_shap_finds_what_calls_for_a_name(session):
    result = shap.run(ShapParams(model="stories260K", prompt=STORY, target=" Lily", algorithm="exact"), session())
    assert result.units[result.top].text == "named"
    assert abs(result.completeness_gap) < 1e-4
    with torch.no_grad():
        access = session().model_access
        network, encoder = access.model().network, access.encoder
        ids = encoder.tokenizer(STORY + " Lily", return_tensors="pt").input_ids
        logprob = network(ids).logits[0, -2].double().log_softmax(-1)[ids[0, -1]]
    assert result.full_value == pytest.approx(float(logprob), abs=1e-4)


def test_kernel_and_permutation_agree_with_exact(session):
    asked = {"model": "stories260K", "prompt": STORY, "target": " Lily"}
    exact = shap.run(ShapParams(**asked, algorithm="exact"), session())
    for algorithm in ("kernel", "permutation"):
        found = shap.run(ShapParams(**asked, algorithm=algorithm, budget=500), session())
        distance = np.abs(np.subtract(found.values, exact.values))
        assert (distance <= 5 * np.array(found.standard_errors) + 1e-3).all()


@pytest.mark.parametrize("units", ["token", "word", "sentence"])
def test_every_tweet_is_cut_into_clean_units(session, tweets, units):
    own = session()
    for tweet in tweets[:300]:
        found = tokenize.run(TokenizeParams(model="stories260K", prompt=tweet, units=units), own)
        assert all(tweet[u.start : u.end] == u.text and u.text.strip() for u in found.units if units != "token")
        assert all(t.unit is not None for t in found.tokens if t.start is not None)


def test_real_tweets_are_explained_whatever_they_hold(session, tweets):
    own = session()
    for tweet in tweets[:40]:
        asked = FeatureAblationParams(model="stories260K", prompt=tweet, target=" happy", foil=" sad")
        result = feature_ablation.run(asked, own)
        assert len(result.values) == len(result.units)
        assert np.isfinite(result.values).all()
