"""Token ids that no embedding has a row for never reach a device: there they would poison it for the process."""

import pytest
import torch

from explaind.contract.errors import ExplaindError
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import DEMO
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from tests.support.devices import on_both, require

ABOVE = 1 << 20
ASKED = [
    ("infer/score", {"target": {"token_ids": [ABOVE]}}),
    ("explain/shap", {"target": {"token_ids": [5, ABOVE]}}),
    ("explain/shap", {"target": {"token_ids": [5]}, "foil": {"token_ids": [ABOVE]}}),
    ("explain/saliency", {"target": {"token_ids": [ABOVE]}}),
    ("explain/logit-attribution", {"target": {"token_ids": [ABOVE]}}),
]


@pytest.mark.parametrize(("device", "path", "fields"), on_both(ASKED, cpu=ASKED))
def test_an_id_out_of_range_is_refused_and_the_device_is_well(device, path, fields):
    require(device)
    pool, entry = ModelPool(), DEMO.model_copy(update={"device": device})
    method = find_method(path)
    params = method.params_model.model_validate({"model": "demo", "prompt": "the man went home", **fields})
    with Session(entry, pool, lambda *_: None) as session, pytest.raises(ExplaindError) as refused:
        implementation_of(method)(params, session)
    assert refused.value.status in {400, 422}
    assert torch.zeros(1, device=device).cpu().item() == 0.0
