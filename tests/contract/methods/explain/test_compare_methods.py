"""A comparison is checked whole when it is asked for: every member's fields, without a model."""

import pytest
from pydantic import ValidationError

from explaind.contract.blocks.faithfulness import FaithfulnessOptions
from explaind.contract.errors import field_errors
from explaind.contract.methods.explain.compare_methods import (
    PREFERRED,
    ComparedSpec,
    CompareMethodsParams,
    comparable_methods,
    member_pointer,
)
from explaind.contract.methods.explain.shap import ShapParams
from explaind.contract.registry import all_methods

ASKED = {"model": "m", "prompt": "a b c", "target": " d", "foil": " e", "units": "token", "baseline": "remove"}


def asked(**fields):
    return CompareMethodsParams.model_validate({**ASKED, **fields})


def test_a_bare_name_is_short_for_a_member():
    params = asked(methods=["shap", {"method": "feature-ablation"}])
    assert params.members == [ComparedSpec(method="shap"), ComparedSpec(method="feature-ablation")]
    assert CompareMethodsParams.model_validate_json(params.model_dump_json()) == params


def test_by_default_the_preferred_are_compared_as_far_as_there_are_any():
    params = asked()
    assert [member.method for member in params.members] == [name for name in PREFERRED if name in comparable_methods()]
    assert {"shap", "feature-ablation"} <= {member.method for member in params.members}


def test_a_member_gets_the_subject_of_the_comparison_and_fields_of_its_own():
    params = asked(
        methods=["shap", {"method": "shap", "params": {"algorithm": "kernel", "seed": 3}}, "feature-ablation"],
        seed=7,
        faithfulness={"random_orders": 5},
        metadata={"a": "b"},
        priority="low",
    )
    first, second, third = (params.request_of(member) for member in params.members)
    assert isinstance(first, ShapParams)
    assert isinstance(second, ShapParams)
    assert (first.seed, first.algorithm, second.seed, second.algorithm) == (7, "auto", 3, "kernel")
    for request in (first, second, third):
        assert (request.target, request.foil, request.units) == (params.target, params.foil, "token")
        assert request.baseline == "remove"
        assert request.faithfulness == FaithfulnessOptions(random_orders=5, baseline="remove"), "one game for all"
        assert (request.metadata, request.priority) == ({}, "normal"), "the job's own"


def test_messages_are_handed_on():
    params = CompareMethodsParams(model="m", messages=[{"role": "user", "content": "a"}])  # type: ignore[list-item]
    assert params.request_of(params.members[0]).messages == params.messages


@pytest.mark.parametrize(
    ("methods", "pointer", "said"),
    [
        (["shap"], "/methods", "at least 2"),
        (["shap"] * 17, "/methods", "at most 16"),
        (["shap", "shpa"], "/methods/1", "Did you mean 'shap'"),
        (["shap", "compare-methods"], "/methods/1", "There are: "),
        (["generate", "shap"], "/methods/0", "There are: "),
        (["shap", "explain/shap"], "/methods/1", "or 'shap'?"),
        (["shap", 3], "/methods/1", "string"),
        (["shap", {"mehtod": "shap"}], "/methods/1", "method"),
        (["shap", {"method": "shap", "more": 1}], "/methods/1/more", "Extra"),
        (["shap", {"method": "shap", "params": {"budget": 1}}], "/methods/1/params/budget", "equal to 4"),
        (["shap", {"method": "shap", "params": {"bugdet": 9}}], "/methods/1/params/bugdet", "'budget'"),
        ([{"method": "feature-ablation", "params": {"x": 9}}, "shap"], "/methods/0/params/x", "There is no such field"),
        (["shap", {"method": "shap", "params": {"units": "word"}}], "/methods/1/params/units", "same for all"),
        (["shap", {"method": "shap", "params": {"baseline": "pad"}}], "/methods/1/params/baseline", "same for all"),
        (["shap", {"method": "saliency", "params": {"baseline": "x"}}], "/methods/1/params/baseline", "'zero'"),
        (["shap", {"method": "shap", "params": {"model": "m"}}], "/methods/1/params/model", "same for all"),
        (["shap", {"method": "shap", "params": {"webhook": "x"}}], "/methods/1/params/webhook", "same for all"),
    ],
)
def test_what_is_wrong_with_a_member_is_named(methods, pointer, said):
    with pytest.raises(ValidationError) as caught:
        asked(methods=methods)
    errors = field_errors(caught.value.errors())
    assert [error.pointer for error in errors] == [pointer]
    assert said in errors[0].detail


def test_every_attribution_and_nothing_else_can_be_compared():
    names = {method.name for method in all_methods().values() if method.result.__name__ == "Attribution"}
    assert set(comparable_methods()) == names
    for name in names:
        params = asked(methods=[name, name])
        assert params.request_of(params.members[0]).target == params.target


def test_a_pointer_of_a_member_is_one_of_the_whole_request():
    shared, own = ComparedSpec(method="shap"), ComparedSpec(method="saliency", params={"baseline": {"text": "two"}})
    assert member_pointer("/units/segments/1", 2, shared) == "/units/segments/1"
    assert member_pointer("/baseline", 2, shared) == "/baseline"
    assert member_pointer("/baseline", 2, own) == "/methods/2/params/baseline"
    assert member_pointer("/algorithm", 2, shared) == "/methods/2/params/algorithm"
    assert member_pointer("", 2, shared) == "/methods/2/params"


@pytest.mark.parametrize(
    ("fields", "perturbation", "gradient", "product"),
    [
        ({}, "mask", "mask", "zero"),
        ({"baseline": "pad"}, "pad", "pad", "pad"),
        ({"baseline": "remove"}, "remove", "mask", "zero"),
    ],
)
def test_the_baseline_is_that_of_every_method_that_knows_it(fields, perturbation, gradient, product):
    """Unless one is chosen, gradients keep the defaults of their literature; none of them can remove a token."""
    own = {"method": "saliency", "params": {"baseline": "zero"}}
    shared = {name: value for name, value in ASKED.items() if name != "baseline"}
    methods = ["shap", "integrated-gradients", "input-x-gradient", own]
    params = CompareMethodsParams.model_validate({**shared, "methods": methods, **fields})
    baselines = [params.request_of(member).baseline for member in params.members]
    assert baselines == [perturbation, gradient, product, "zero"]
