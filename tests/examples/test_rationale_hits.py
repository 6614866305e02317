"""What the example counts: top words in what people marked, against chance."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

FILE = Path(__file__).parents[2] / "examples" / "rationale_hits.py"
SPEC = importlib.util.spec_from_file_location("rationale_hits", FILE)
hits = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hits)

TWEET = hits.Tweet("so sad , I miss her", "negative", 3, 6)


def attribution(text, values, offset=0):
    units, cursor = [], 0
    for word in text.split():
        start = text.index(word, cursor)
        cursor = start + len(word)
        units.append(SimpleNamespace(text=word, start=start, end=cursor))
    return SimpleNamespace(units=units, values=values)


def test_the_top_word_is_held_against_the_rationale():
    inside = hits.judged(TWEET, attribution(TWEET.text, [0, 3, 9, 1, 2, 0]), offset=0, right=True)
    assert inside == hits.Hit(True, 1 / 5, True), "a comma is no word"
    outside = hits.judged(TWEET, attribution(TWEET.text, [4, 3, 0, 1, 2, 0]), offset=0, right=False)
    assert outside == hits.Hit(False, 1 / 5, False)


def test_words_of_the_template_do_not_count():
    text = f"Review: {TWEET.text} Sentiment:"
    found = hits.judged(TWEET, attribution(text, [9, 0, 1, 0, 0, 0, 0, 9]), offset=8, right=True)
    assert found == hits.Hit(True, 1 / 5, True)


def test_a_rationale_of_every_word_says_nothing():
    whole = hits.Tweet("so sad !", "negative", 0, 6)
    assert hits.judged(whole, attribution(whole.text, [1, 2, 3]), offset=0, right=True) is None


def test_only_rationales_that_are_a_part_are_drawn_and_the_seed_decides(tmp_path):
    rows = [{"text": f"so sad {i}", "label_text": "negative", "rationale": " sad"} for i in range(9)]
    rows += [{"text": "so sad", "label_text": "negative", "rationale": "so sad "}]
    file = tmp_path / "tweets.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = hits.read_tweets(file, 5, 1)
    assert found == hits.read_tweets(file, 5, 1)
    assert len(found) == 5
    assert len(hits.read_tweets(file, 50, 1)) == 9
    assert all(tweet.text[tweet.start : tweet.end] == "sad" for tweet in found)


def test_the_interval_tells_chance_from_more():
    by_chance = [hits.Hit(i % 4 == 0, 0.25, True) for i in range(200)]
    low, high = hits.interval(by_chance, 0)
    assert low < 0 < high
    low, high = hits.interval([hits.Hit(i % 4 != 0, 0.25, True) for i in range(200)], 0)
    assert 0.4 < low < 0.5 < high < 0.6


@pytest.mark.parametrize("template", [None, "Review: {text} Sentiment:"])
def test_what_is_asked(template):
    classify, explain = hits.requests_of(TWEET, "m", template, {"units": "word"})
    assert classify["prompt"] == explain["prompt"]
    assert TWEET.text in explain["prompt"]
    assert ("labels" in classify) == (template is not None)
    if template is None:
        assert explain["target"] == {"class": "negative"}
    else:
        assert explain["target"] == {"labels": [" negative", " neutral", " positive"], "explain": " negative"}
