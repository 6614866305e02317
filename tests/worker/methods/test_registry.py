"""A method of the contract and the worker's module that runs it have one path."""

from dataclasses import replace

import pytest

from explaind.contract.errors import InternalError
from explaind.contract.methods.infer.tokenize import TokenizeParams
from explaind.contract.registry import all_methods, find_method
from explaind_worker.methods import registry
from explaind_worker.methods.registry import implementation_of


@pytest.mark.parametrize("path", ["explain/tuned-lens", "train/tuned-lens"])
def test_two_verbs_may_have_a_method_of_one_name(path):
    run = implementation_of(find_method(path))
    assert run.__module__ == f"{registry.METHODS}.{find_method(path).module}"
    assert run.__annotations__["params"] is find_method(path).params_model


def test_every_module_is_one_methods_alone():
    modules = [method.module for method in all_methods().values()]
    assert len(set(modules)) == len(modules)


def test_a_method_that_the_worker_does_not_have_is_an_error_that_says_so():
    class NewerParams(TokenizeParams):
        """The parameters of a method that only a newer contract knows."""

    with pytest.raises(InternalError, match="no infer/newer"):
        implementation_of(replace(find_method("infer/tokenize"), name="newer", params=NewerParams))
