"""Notes on 16-bit numbers: the figure that they give holds against float32, and is of that size."""

import re

import numpy as np
import pytest

from explaind_jobs.catalogue import DEMO

REVIEW = {"prompt": "Review: The food was great. Sentiment:", "target": " positive", "foil": " negative"}
METHODS = ["explain/feature-ablation", "explain/input-x-gradient"]


def figure_of(notes: list[str]) -> float:
    found = re.search(r"log-probability is off by up to about ([\d.e-]+),", " ".join(notes))
    assert found, notes
    return float(found[1])


@pytest.fixture(scope="module", params=["bfloat16", "float16"])
def narrow(request):
    return DEMO.model_copy(update={"name": f"demo-{request.param}", "dtype": request.param})


@pytest.mark.parametrize("path", METHODS)
def test_scores_and_values_are_off_by_no_more_than_the_note_says(run, narrow, path):
    exact, rounded = run(path, entry=DEMO, **REVIEW), run(path, entry=narrow, **REVIEW)
    assert not [note for note in exact.notes if "The values add up to " not in note]
    (note,) = [note for note in rounded.notes if "The values add up to " not in note]
    off = figure_of([note])
    assert note.startswith(
        f"Computed in {narrow.dtype}, which keeps {8 if narrow.dtype == 'bfloat16' else 11} significant bits"
    )
    assert abs(rounded.full_value - exact.full_value) <= 2 * off, "a difference of two log-probabilities"
    assert np.abs(np.subtract(rounded.values, exact.values)).max() <= 2 * off
    assert ("more than rounding explains" in note) == (abs(rounded.completeness_gap) > 2 * off)


def test_tokens_are_off_by_about_what_the_note_says(run, narrow):
    asked = {"prompt": "The staff were rude and the room was small.", "target": "bad", "prompt_logprobs": True}
    exact, rounded = run("infer/score", entry=DEMO, **asked), run("infer/score", entry=narrow, **asked)
    off = figure_of(rounded.notes)
    tokens = [[token.logprob for token in found.prompt_tokens[1:]] for found in (exact, rounded)]
    largest = np.abs(np.subtract(*tokens)).max()
    assert off / 20 < largest <= off


def test_where_no_scores_are_taken_the_step_alone_is_given(run, narrow):
    (note,) = run("explain/attention", entry=narrow, prompt=REVIEW["prompt"], induction_probe=False).notes
    assert note.endswith(f"off by up to about {'0.8%' if narrow.dtype == 'bfloat16' else '0.1%'} of the largest.")
    assert run("infer/tokenize", entry=narrow, prompt=REVIEW["prompt"]).notes == [], "no numbers were computed"
