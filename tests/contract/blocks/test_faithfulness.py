"""What asking for faithfulness means, before any model is there."""

from itertools import pairwise

import pytest
from pydantic import ValidationError

from explaind.contract.blocks.faithfulness import FaithfulnessOptions, removal_counts, share_counts
from explaind.contract.errors import field_errors
from explaind.contract.methods.explain.feature_ablation import FeatureAblationParams

ASKED = {"model": "m", "prompt": "a b"}


@pytest.mark.parametrize("given", [True, {}, {"random_orders": 10}, FaithfulnessOptions()])
def test_true_is_short_for_the_options(given):
    params = FeatureAblationParams.model_validate({**ASKED, "faithfulness": given})
    assert params.faithfulness == FaithfulnessOptions()
    again = FeatureAblationParams.model_validate_json(params.model_dump_json())
    assert again == params
    assert again.cache_fields() == params.cache_fields()


def test_it_is_asked_for_or_not():
    assert FeatureAblationParams.model_validate(ASKED).faithfulness is False
    asked, not_asked = ({**ASKED, "faithfulness": given} for given in (True, False))
    questions = {FeatureAblationParams.model_validate(each).cache_fields() for each in (asked, not_asked, ASKED)}
    assert len(questions) == 2


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ("perhaps", "/faithfulness"),
        ({"random_orders": 1}, "/faithfulness/random_orders"),
        ({"steps": 0}, "/faithfulness/steps"),
        ({"orders": 3}, "/faithfulness/orders"),
        ({"baseline": "gone"}, "/faithfulness/baseline"),
    ],
)
def test_what_is_wrong_with_it_is_named(given, pointer):
    with pytest.raises(ValidationError) as caught:
        FeatureAblationParams.model_validate({**ASKED, "faithfulness": given})
    assert [error.pointer for error in field_errors(caught.value.errors())] == [pointer]


@pytest.mark.parametrize("steps", [2, 3, 20, 21, 1000])
@pytest.mark.parametrize("units", [1, 2, 3, 19, 20, 21, 40, 41, 333, 5000])
def test_a_curve_goes_from_all_to_none_by_even_strides(units, steps):
    counts = removal_counts(units, steps)
    assert counts == sorted(set(counts))
    assert (counts[0], counts[-1]) == (0, units)
    assert [units - count for count in reversed(counts)] == counts
    assert set(share_counts(units)) <= set(counts)
    assert max(after - before for before, after in pairwise(counts)) <= -(-units // steps) * 2
    assert len(counts) <= steps + 1 + 2 * 5 + 1
    if units <= steps:
        assert counts == list(range(units + 1))


def test_shares_are_rounded_up_to_whole_units():
    assert share_counts(1) == [1, 1, 1, 1, 1]
    assert share_counts(9) == [1, 1, 1, 2, 5]
    assert share_counts(100) == [1, 5, 10, 20, 50]
    assert share_counts(101) == [2, 6, 11, 21, 51]
