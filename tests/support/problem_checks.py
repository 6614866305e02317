"""What every answer to anything must be: valid, or a problem of the contract that gives nothing away."""

import re
import sys
from pathlib import Path
from typing import Any

from explaind.contract.errors import Problem, classes_by_code

REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# What a problem may repeat of what it was sent, in one piece; and how long it may be in all.
MOST_ECHOED = 520
MOST_BYTES = 8192
PLACES = (str(Path(__file__).parents[2]), sys.prefix, str(Path.home()) + "/", "site-packages", "Traceback", 'File "')


def check_answer(response: Any, *, filler: str = "Q") -> None:
    """Fails unless this is a valid answer, or a problem that is one of the contract's.

    `filler` is the character that a hostile request was filled up with.
    """
    assert response.status_code < 500, response.text[:2000]
    assert REQUEST_ID.fullmatch(response.headers["x-request-id"]), response.headers
    assert response.headers["x-content-type-options"] == "nosniff"
    if response.status_code >= 400:
        check_problem(response, filler=filler)


def check_problem(response: Any, *, filler: str = "Q") -> Problem:
    """Fails unless this is a problem of the contract; returns it."""
    assert response.headers["content-type"] == "application/problem+json", response.text[:2000]
    problem = Problem.model_validate_json(response.content)
    assert problem.status == response.status_code
    assert problem.code in classes_by_code(), problem
    assert problem.title
    assert problem.detail
    assert len(response.content) < MOST_BYTES, (len(response.content), response.text[:500])
    assert filler * MOST_ECHOED not in response.text, response.text[:1000]
    assert not [place for place in PLACES if place in response.text], response.text[:1000]
    return problem
