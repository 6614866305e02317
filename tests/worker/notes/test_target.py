"""Notes on the space before what is scored: on every method that scores a text, with its price."""

import math

import pytest

from explaind.contract.registry import find_method
from explaind.contract.request import ModelRequest
from explaind_jobs.catalogue import DEMO
from explaind_worker.methods.infer import score
from explaind_worker.methods.registry import implementation_of
from explaind_worker.notes.wording import quoted, times
from explaind_worker.session.session import Session

REVIEW = "Review: The food was great. Sentiment:"
MISSING = "The target 'positive' has no leading space; ' positive' is 2 billion times likelier after this prompt."
LABELS = (
    "The labels 'positive' and 'negative' have no leading space; ' positive' and ' negative' are 2 billion and "
    "960,000 times likelier after this prompt."
)
SUBJECTS = [
    ("explain/feature-ablation", {}),
    ("explain/input-x-gradient", {}),
    ("explain/logit-lens", {}),
    ("explain/logit-attribution", {}),
    ("explain/compare-methods", {"methods": ["feature-ablation", "saliency"]}),
    (
        "explain/activation-patching",
        {"grids": ["resid_pre"], "layers": [0], "corrupted": "Review: The food was awful. Sentiment:"},
    ),
    ("infer/score", {}),
]


def but_gaps(notes: list[str]) -> list[str]:
    """Without those on values that do not add up, which methods that take units away one at a time may have."""
    return [note for note in notes if "The values add up to " not in note]


def of_spaces(notes: list[str]) -> list[str]:
    return [note for note in notes if "leading space" in note]


@pytest.mark.parametrize(("path", "params"), SUBJECTS)
def test_a_missing_space_is_noted_by_every_method_that_scores(run, path, params):
    wrong = run(path, entry=DEMO, prompt=REVIEW, target="positive", **params)
    right = run(path, entry=DEMO, prompt=REVIEW, target=" positive", **params)
    assert of_spaces(wrong.notes) == [MISSING]
    assert but_gaps(right.notes) == []


def test_foils_labels_and_classes_likewise(run):
    foil = run("explain/feature-ablation", entry=DEMO, prompt=REVIEW, target=" positive", foil="negative").notes
    assert [note.partition(";")[0] for note in but_gaps(foil)] == ["The foil 'negative' has no leading space"]
    labels = {"labels": ["positive", "negative"], "explain": "positive"}
    assert run("explain/feature-ablation", entry=DEMO, prompt=REVIEW, target=labels).notes[-1] == LABELS
    assert run("infer/classify", entry=DEMO, prompt=REVIEW, labels=labels["labels"]).notes == [LABELS]
    assert run("infer/classify", entry=DEMO, prompt=REVIEW, labels=[" positive", " negative"]).notes == []


def test_a_space_too_much_is_noted(run):
    """The demo's own answers begin with a space, so that its line break is what it would go on with."""
    notes = run("infer/score", entry=DEMO, prompt=f"{REVIEW} positive\n\n", target=" Review").notes
    (note,) = notes
    assert note.startswith("The target ' Review' has a leading space; 'Review' is ")
    assert run("infer/score", entry=DEMO, prompt=f"{REVIEW} positive\n\n", target="Review").notes == []


def test_token_ids_are_what_they_are(run):
    ids = run("infer/score", entry=DEMO, prompt=REVIEW, target="positive").tokens
    asked = {"token_ids": [token.id for token in ids]}
    assert but_gaps(run("explain/feature-ablation", entry=DEMO, prompt=REVIEW, target=asked).notes) == []


@pytest.mark.parametrize(("target", "forwards"), [(" positive", 0), ("positive", 1), ("!", 0), ("\npositive", 0)])
def test_it_costs_one_row_where_it_is_looked_at_and_an_estimate_counts_it(pool, target, forwards):
    method = find_method("infer/score")
    params: ModelRequest = method.params_model.model_validate({"model": "demo", "prompt": REVIEW, "target": target})
    meters = []
    for implementation in (score.run, implementation_of(method)):
        with Session(DEMO, pool, lambda *_: None) as session:
            implementation(params, session)
            meters.append(session.job.meter)
    plain, noted = meters
    assert noted.forwards - plain.forwards == forwards
    row = plain.tokens_evaluated
    assert noted.tokens_evaluated - plain.tokens_evaluated <= forwards * (row + 4)
    estimate = find_method("estimate/infer/score")
    with Session(DEMO, pool, lambda *_: None) as session:
        told = implementation_of(estimate)(params, session)
        assert session.job.meter.forwards == 0
    assert (told.forwards, told.tokens_evaluated) == (noted.forwards, noted.tokens_evaluated)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1234, "1,200"),
        (56_000, "56,000"),
        (2.1e9, "2 billion"),
        (1.4e6, "1.4 million"),
        (3.4e13, "30 trillion"),
        (1e16, "more than 1,000 trillion"),
    ],
)
def test_ratios_in_words(ratio, words):
    assert times(math.log(ratio)) == words


def test_a_long_text_is_quoted_in_part():
    assert quoted("a\nb") == "'a⏎b'"
    assert len(quoted("secret " * 100)) == 42
