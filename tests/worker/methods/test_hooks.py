"""Jobs share models: whatever a method hangs onto a module must be there only while it holds the model's lock."""

import pytest
from torch import nn

from explaind.contract.errors import WrongModelKind
from explaind.contract.registry import all_methods
from explaind_jobs.catalogue import DEMO
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from tests.support.memory_files import KeptFiles

REGISTER = ("register_forward_pre_hook", "register_forward_hook", "register_full_backward_hook")


@pytest.fixture(scope="module")
def demo():
    pool = ModelPool()
    return pool, pool.model(DEMO)[0]


@pytest.mark.parametrize("path", all_methods())
def test_hooks_are_set_under_the_lock_and_none_stays(demo, path, monkeypatch):
    pool, model = demo
    unlocked, modules = [], set(model.network.modules())

    def watched(register):
        def registering(module, *args, **kwargs):
            if module in modules and not model.lock.locked():
                unlocked.append(type(module).__name__)
            return register(module, *args, **kwargs)

        return registering

    for name in REGISTER:
        monkeypatch.setattr(nn.Module, name, watched(getattr(nn.Module, name)))
    method = all_methods()[path]
    before = hooks_of(model.network)
    try:
        with Session(DEMO, pool, lambda *_: None, files=KeptFiles()) as session:
            implementation_of(method)(method.params_model.model_validate(method.example), session)
    except WrongModelKind:
        pytest.fail("the example is about the built-in model")
    assert unlocked == []
    assert hooks_of(model.network) == before
    assert not model.lock.locked()


def hooks_of(network):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())
