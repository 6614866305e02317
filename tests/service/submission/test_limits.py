from typing import Any

import pytest

from explaind.contract.errors import TargetTooLong, TooManyUnits
from explaind.contract.registry import find_method
from explaind_jobs.catalogue import Catalogue
from explaind_service.submission.limits import check_limits

DEMO = Catalogue.load(None).find("demo")
MOST = DEMO.limits.max_target_tokens


def check(path: str, **changes: Any) -> None:
    method = find_method(path)
    check_limits(method.params_model.model_validate({**method.example, **changes}), DEMO)


@pytest.mark.parametrize(
    ("path", "changes", "pointer"),
    [
        ("explain/shap", {"target": {"token_ids": [1] * (MOST + 1)}}, "/target/token_ids"),
        ("explain/shap", {"foil": {"token_ids": [1] * (MOST + 1)}}, "/foil/token_ids"),
        (
            "explain/feature-ablation",
            {"target": {"generate": {"max_new_tokens": MOST + 1}}},
            "/target/generate/max_new_tokens",
        ),
        ("infer/score", {"target": {"token_ids": [1] * (MOST + 1)}}, "/target/token_ids"),
        ("infer/generate", {"max_new_tokens": MOST + 1}, "/max_new_tokens"),
    ],
)
def test_too_long(path: str, changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(TargetTooLong, match=f"{MOST + 1} tokens are more than the {MOST}") as caught:
        check(path, **changes)
    assert [error.pointer for error in caught.value.errors] == [pointer]


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("explain/shap", {"target": {"token_ids": [1] * MOST}, "foil": {"token_ids": [1] * MOST}}),
        ("explain/shap", {"target": {"generate": {"max_new_tokens": MOST}}}),
        ("explain/shap", {"target": None}),
        ("infer/generate", {"max_new_tokens": MOST}),
        ("infer/tokenize", {}),
    ],
)
def test_within_the_limits(path: str, changes: dict[str, Any]) -> None:
    check(path, **changes)


def test_exact_with_too_many_segments() -> None:
    units = {"segments": [[i, i + 1] for i in range(13)]}
    with pytest.raises(TooManyUnits, match="up to 12 units, not 13") as caught:
        check("explain/shap", algorithm="exact", units=units)
    assert [error.pointer for error in caught.value.errors] == ["/units/segments"]
    check("explain/shap", algorithm="kernel", units=units)
    check("explain/shap", algorithm="exact", units={"segments": units["segments"][:12]})
