import pytest

from explaind.contract.errors import UnknownMethod
from explaind.contract.registry import all_methods, find_method, near_miss


def test_every_method_is_found_under_its_verb_and_name():
    assert set(all_methods()) == {
        "explain/compare-methods",
        "explain/deeplift",
        "explain/feature-ablation",
        "explain/gradient-shap",
        "explain/input-x-gradient",
        "explain/integrated-gradients",
        "explain/kernel-shap",
        "explain/lime",
        "explain/occlusion",
        "explain/saliency",
        "explain/shap",
        "explain/shapley-sampling",
        "infer/classify",
        "infer/generate",
        "infer/score",
        "infer/tokenize",
    }
    assert all(path == method.path for path, method in all_methods().items())


def test_near_misses_are_suggested():
    with pytest.raises(UnknownMethod) as caught:
        find_method("explain/shpa")
    assert "Did you mean 'explain/shap'" in caught.value.hint
    assert near_miss("zzz", ["a", "b"]) == "There are: a, b."


def test_two_modules_with_one_name_are_an_error(monkeypatch):
    from explaind.contract.methods import score
    from explaind.contract.methods.shap import METHOD

    monkeypatch.setattr(score, "METHOD", METHOD)
    all_methods.cache_clear()
    try:
        with pytest.raises(TypeError, match="Two modules name the method explain/shap"):
            all_methods()
    finally:
        monkeypatch.undo()
        all_methods.cache_clear()
