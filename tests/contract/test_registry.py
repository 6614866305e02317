from pathlib import Path

import pytest

from explaind.contract import methods
from explaind.contract.errors import UnknownMethod
from explaind.contract.estimate import Estimate
from explaind.contract.near_miss import near_miss
from explaind.contract.registry import all_methods, find_method, known_method


def test_the_path_of_a_method_is_that_of_its_file():
    files = sorted(Path(methods.__file__).parent.glob("*/[!_]*.py"))
    assert len(files) > 20
    assert set(all_methods()) == {f"{file.parent.name}/{file.stem.replace('_', '-')}" for file in files}
    assert all(path == method.path for path, method in all_methods().items())


def test_near_misses_are_suggested():
    with pytest.raises(UnknownMethod) as caught:
        find_method("explain/shpa")
    assert "Did you mean 'explain/shap'" in caught.value.hint
    assert near_miss("zzz", ["a", "b"]) == "There are: a, b."


def test_a_module_with_the_method_of_another_is_an_error(monkeypatch):
    from explaind.contract.methods.explain.shap import METHOD
    from explaind.contract.methods.infer import score

    monkeypatch.setattr(score, "METHOD", METHOD)
    all_methods.cache_clear()
    try:
        with pytest.raises(TypeError, match=r"infer\.score holds the method explain/shap"):
            all_methods()
    finally:
        monkeypatch.undo()
        all_methods.cache_clear()


def test_every_method_has_an_estimate_that_takes_the_same():
    for path, method in all_methods().items():
        estimate = find_method(f"estimate/{path}")
        assert (estimate.path, estimate.name, estimate.result) == (f"estimate/{path}", path, Estimate)
        assert estimate.params_model is method.params_model
    assert "estimate" not in {method.verb for method in all_methods().values()}
    assert (
        known_method("estimate") is known_method("estimate/") is known_method("estimate/estimate/infer/score") is None
    )
    assert known_method("estimate/infer/shap") is None
    with pytest.raises(UnknownMethod, match="estimate/explain/shpa") as caught:
        find_method("estimate/explain/shpa")
    assert "'estimate/explain/shap'" in (caught.value.hint or "")
