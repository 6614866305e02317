"""Estimates of classifiers against what the allocator sees: never less, and not wastefully more."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from explaind_jobs.catalogue import ModelEntry
from explaind_worker.engine.batching.memory_estimate import Footprint
from explaind_worker.models.loading.loaded import LoadedClassifier
from explaind_worker.models.structure.classifier_head import Classes, class_logits
from explaind_worker.models.text.tokenizer import Encoder
from tests.support.allocations import peak_bytes
from tests.support.classifiers import FAMILIES

pytestmark = pytest.mark.usefixtures("two_threads")

WIDER = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2, "max_position_embeddings": 1024}
SHAPES = {
    "distilbert": {"dim": 128, "hidden_dim": 352, "n_layers": 2, "max_position_embeddings": 1024},
    "gpt2": {"n_embd": 128, "n_layer": 2, "n_positions": 1024},
}
CASES = [(family, torch.float32) for family in FAMILIES]
CASES += [(family, torch.bfloat16) for family in ("bert", "deberta-v2", "modernbert", "llama")]


def made(family: str, dtype: torch.dtype) -> LoadedClassifier:
    torch.manual_seed(0)
    shape = FAMILIES[family] | SHAPES.get(family, WIDER)
    config = AutoConfig.for_model(family, vocab_size=500, pad_token_id=0, bos_token_id=1, eos_token_id=2, **shape)
    network = AutoModelForSequenceClassification.from_config(config, dtype=dtype).eval()
    entry, classes = ModelEntry(name=family, builtin=True), Classes(("A", "B"), "softmax")
    return LoadedClassifier(entry, Encoder(None, 1024), network, classes, True, None, None, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("family", "dtype"), CASES, ids=[f"{family}-{dtype}" for family, dtype in CASES])
def test_estimates_are_upper_bounds(family, dtype):
    model = made(family, dtype)
    footprint = Footprint.of(model)
    for rows, tokens in [(1, 24), (1, 700), (12, 48)]:
        ids = torch.arange(rows * tokens).remainder(400).reshape(rows, tokens) + 5
        ragged = torch.ones_like(ids)
        ragged[0, -3:] = 0
        for mask in (None, ragged):

            def forward(ids=ids, mask=mask):
                with torch.inference_mode():
                    return class_logits(model.network, input_ids=ids, attention_mask=mask).double().log_softmax(-1)

            forward()
            ratio = footprint.forward_bytes(rows, tokens, cached=True) / peak_bytes(forward)
            assert 1.0 <= ratio <= (5.0 if footprint.packs else 4.0), (
                f"{rows} rows of {tokens}, {'padded' if mask is not None else 'even'}: {ratio:.2f}"
            )
