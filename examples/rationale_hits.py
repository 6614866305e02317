"""How often the word that matters most to a classifier lies in what a person marked as the reason, against chance.

python examples/rationale_hits.py tweets.jsonl --path FOLDER             a model of a directory, in a stack of its own
python examples/rationale_hits.py tweets.jsonl --model NAME [--url URL]  a model of a running service
    [--tweets 100] [--method shap] [--budget 256] [--seed 0] [--template "Review: {text} Sentiment:"]

Each line of the file is {"text": …, "label_text": "negative" | "neutral" | "positive", "rationale": …}: the rationale
is the part of the text that carries its sentiment. The model is asked about the label that people gave. A template
makes it zero-shot: a causal model chooses among " negative", " neutral" and " positive" after the template's end.

Chance is the share of the words that lie in the rationale, tweet by tweet; a rationale of the whole text says nothing
and is left out. The interval is of the mean difference from chance, by bootstrap over the tweets.
"""

import argparse
import json
import random
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from own_service import stack_of

from explaind import Client

LABELS = ("negative", "neutral", "positive")
RESAMPLES, AT_ONCE = 10_000, 16


@dataclass(frozen=True)
class Tweet:
    """A text, its label, and the characters [start, end) that a person marked."""

    text: str
    label: str
    start: int
    end: int


@dataclass(frozen=True)
class Hit:
    """Whether the top word lies in the rationale, the chance that any word does, and whether the model was right."""

    hit: bool
    chance: float
    right: bool


def read_tweets(path: Path, count: int, seed: int) -> list[Tweet]:
    """So many tweets, drawn at random among those whose rationale is a part of the text."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text, marked = row["text"], row["rationale"].strip()
        start = text.find(marked)
        if marked and start >= 0 and marked != text.strip():
            found.append(Tweet(text, row["label_text"], start, start + len(marked)))
    return random.Random(seed).sample(found, min(count, len(found)))  # noqa: S311 - nothing secret


def requests_of(tweet: Tweet, model: str, template: str | None, fields: dict[str, Any]) -> tuple[dict, dict]:
    """What is asked of the model: to classify the tweet, and why the label that people gave."""
    if template is None:
        subject = {"model": model, "prompt": tweet.text}
        return subject, {**subject, **fields, "target": {"class": tweet.label}}
    labels = [f" {label}" for label in LABELS]
    subject = {"model": model, "prompt": template.format(text=tweet.text)}
    target = {"labels": labels, "explain": f" {tweet.label}"}
    return {**subject, "labels": labels}, {**subject, **fields, "target": target}


def judged(tweet: Tweet, attribution: Any, *, offset: int, right: bool) -> Hit | None:
    """The attribution held against the rationale; None where no word of the tweet is outside of it, or none in it.

    `offset` is where the tweet starts in the prompt. Punctuation is no word.
    """
    words = [
        (unit.start - offset, unit.end - offset, value)
        for unit, value in zip(attribution.units, attribution.values, strict=True)
        if offset <= unit.start and unit.end <= offset + len(tweet.text) and re.search(r"\w", unit.text)
    ]
    inside = [start < tweet.end and tweet.start < end for start, end, _ in words]
    if not any(inside) or all(inside):
        return None
    top = max(range(len(words)), key=lambda index: words[index][2])
    return Hit(inside[top], sum(inside) / len(inside), right)


def interval(hits: Sequence[Hit], seed: int) -> tuple[float, float]:
    """Where 95 % of bootstrapped means of hit minus chance lie."""
    draws = random.Random(seed)  # noqa: S311 - nothing secret
    gains = [hit.hit - hit.chance for hit in hits]
    means = sorted(statistics.fmean(draws.choices(gains, k=len(gains))) for _ in range(RESAMPLES))
    return means[round(0.025 * RESAMPLES)], means[round(0.975 * RESAMPLES) - 1]


def told(name: str, hits: Sequence[Hit], seed: int) -> str:
    """One line about some of the tweets."""
    if not hits:
        return f"{name}: none"
    low, high = interval(hits, seed)
    rate, chance = statistics.fmean(h.hit for h in hits), statistics.fmean(h.chance for h in hits)
    return (
        f"{name} ({len(hits)}): top word in the rationale {rate:.1%}, by chance {chance:.1%}, "
        f"difference {rate - chance:+.1%} (95 % interval {low:+.1%} to {high:+.1%})"
    )


def explained(
    client: Client, tweets: Sequence[Tweet], model: str, template: str | None, options: argparse.Namespace
) -> Iterator[tuple[Tweet, Hit]]:
    """Each tweet that can be judged, with its judgement; some are under way at once."""
    offset = 0 if template is None else template.index("{text}")
    fields = {"units": "word", **({"budget": options.budget, "seed": options.seed} if options.method == "shap" else {})}
    for first in range(0, len(tweets), AT_ONCE):
        some = tweets[first : first + AT_ONCE]
        jobs = []
        for tweet in some:
            classify, explain = requests_of(tweet, model, template, fields)
            jobs.append(
                (client.submit("infer/classify", classify), client.submit(f"explain/{options.method}", explain))
            )
        for tweet, (classified, attributed) in zip(some, jobs, strict=True):
            right = classified.result().best.label.strip() == tweet.label
            hit = judged(tweet, attributed.result(), offset=offset, right=right)
            if hit is not None:
                yield tweet, hit


def main() -> None:
    """Classify, explain, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    whose = parser.add_mutually_exclusive_group(required=True)
    whose.add_argument("--path", type=Path, help="the directory of a model")
    whose.add_argument("--model", help="the name of a model of the service")
    parser.add_argument("--url", help="the service's address")
    parser.add_argument("--tweets", type=int, default=100)
    parser.add_argument("--method", default="shap", help="an attribution of explain/")
    parser.add_argument("--budget", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--template", help="zero-shot: what to write around {text}")
    options = parser.parse_args()
    if options.template is not None and "{text}" not in options.template:
        parser.error("the template must hold {text}")
    tweets = read_tweets(options.file, options.tweets, options.seed)
    if options.path is not None:
        with stack_of({"classifier": options.path}) as url, Client(url) as client:
            found = list(explained(client, tweets, "classifier", options.template, options))
    else:
        with Client(options.url) as client:
            found = list(explained(client, tweets, options.model, options.template, options))
    hits = [hit for _, hit in found]
    right = sum(hit.right for hit in hits)
    print(f"{len(hits)} of {len(tweets)} tweets can be judged; {right} of them are classified as people did")
    print(told("all", hits, options.seed))
    print(told("classified right", [hit for hit in hits if hit.right], options.seed))
    for label in LABELS:
        print(told(label, [hit for tweet, hit in found if tweet.label == label], options.seed))


if __name__ == "__main__":
    main()
