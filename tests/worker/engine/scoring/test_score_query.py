import numpy as np

from explaind_worker.engine.scoring.score_query import ScoreSpec
from explaind_worker.engine.scoring.value_function import TokenScores

LOGPROBS = np.log(np.array([[0.5, 0.25, 0.125, 0.5], [0.1, 0.2, 0.3, 0.4]]))
SCORES = TokenScores(logprobs=LOGPROBS, logits=LOGPROBS + 3.0)


def test_target_alone():
    question = ScoreSpec("logprob", target=(1, 2, 3, 4))
    np.testing.assert_allclose(question.columns(SCORES), LOGPROBS)
    np.testing.assert_allclose(ScoreSpec("prob", target=(1, 2, 3, 4)).columns(SCORES), np.exp(LOGPROBS))
    np.testing.assert_allclose(ScoreSpec("logit", target=(1, 2, 3, 4)).columns(SCORES), LOGPROBS + 3.0)


def test_foil_counts_negatively():
    columns = ScoreSpec("logprob", target=(1, 2), foil=(3, 4)).columns(SCORES)
    np.testing.assert_allclose(columns[0], [np.log(0.5), np.log(0.25), -np.log(0.125), -np.log(0.5)])


def test_labels_are_normalised_over_the_closed_set():
    labels = ((1,), (2, 3), (4,))
    whole = np.array([0.5, 0.25 * 0.125, 0.5])
    expected = whole / whole.sum()
    for index, label in enumerate(labels):
        columns = ScoreSpec("prob", target=label, labels=labels).columns(SCORES)
        assert columns.shape == (2, 1)
        np.testing.assert_allclose(columns[0, 0], expected[index])
        logit = ScoreSpec("logit", target=label, labels=labels).columns(SCORES)[0, 0]
        np.testing.assert_allclose(logit, np.log(expected[index] / (1 - expected[index])))


def test_split_gives_each_continuation_its_tokens():
    question = ScoreSpec("logprob", target=(1, 2, 3), foil=(4,))
    assert question.split([1.0, 2.0, 3.0, 4.0]) == [[1.0, 2.0, 3.0], [4.0]]
