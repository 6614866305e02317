"""Rules whose points are doubled: the same integral as the rule by itself, and nothing evaluated twice that nests."""

from typing import get_args

import numpy as np
import pytest

from explaind.contract.methods.explain.integrated_gradients import Quadrature
from explaind_worker.engine.gradients.quadrature import NESTED, places_and_weights, refinements

RULES = get_args(Quadrature)


@pytest.mark.parametrize("rule", RULES)
def test_every_doubling_is_the_rule_with_as_many_points(rule):
    integral, asked = 0.0, []
    found = list(refinements(rule, 5, 43))
    for part in found:
        integral = part.kept * integral + np.exp(3 * part.places) @ part.weights
        asked += part.places.tolist()
        places, weights = places_and_weights(rule, part.steps)
        assert integral == pytest.approx(np.exp(3 * places) @ weights, rel=1e-12)
        if rule in NESTED:
            np.testing.assert_allclose(sorted(asked), places, atol=1e-12)
    steps = [part.steps for part in found]
    assert steps == {"riemann_trapezoid": [5, 9, 17, 33], "gausslegendre": [5, 10, 20, 40, 43],
                     "riemann_middle": [5, 10, 20, 40, 43]}.get(rule, [5, 10, 20, 40])  # fmt: skip
