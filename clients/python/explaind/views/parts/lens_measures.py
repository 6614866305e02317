"""What the cells of a lens can be coloured by: probability, log-probability, rank, entropy or divergence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from explaind.contract.blocks.lens import DecodedStream, LensReading
from explaind.views.drawing.html import Markup, tag
from explaind.views.drawing.palette import NEGATIVE, POSITIVE, RGB, SURPRISE, opacity_of, scale_html
from explaind.views.drawing.text import number

LEAST_LOGPROB = -10.0  # nats, where the colours of the log-probability end: one in 22,000
_STEPS = 9


@dataclass(frozen=True)
class Measure:
    """One choice of colour: `key` is its letter in the page, `low` and `high` stand at the ends of its legend."""

    key: str
    name: str
    meaning: str
    hue: RGB
    low: str
    high: str

    @property
    def legend(self) -> Markup:
        """The scale, and what is measured."""
        colours = [solid_css(self.hue, percent_of(step / (_STEPS - 1))) for step in range(_STEPS)]
        return tag(
            "div", scale_html(colours, self.low, self.high), tag("div", self.meaning), class_=f"by by-{self.key}"
        )


@dataclass(frozen=True)
class Scale:
    """Where the colours of entropy and divergence end: one scale for all streams."""

    entropy: float
    divergence: float

    @classmethod
    def of(cls, streams: Sequence[DecodedStream]) -> "Scale":
        """The largest of each in the streams."""
        entropy = max((value for stream in streams for row in stream.entropy for value in row), default=0.0)
        divergence = max((value for stream in streams for row in stream.divergence for value in row), default=0.0)
        return cls(entropy, divergence)


@dataclass(frozen=True)
class Places:
    """The positions of one layer of a stream, and how strongly each is coloured."""

    result: LensReading
    stream: DecodedStream
    place: int
    scale: Scale

    def listed(self, column: int) -> list[tuple[str, float]]:
        """The texts and probabilities of the likeliest tokens, likeliest first."""
        texts, at = self.result.tokens, self.place
        found = zip(self.stream.top_ids[at][column], self.stream.top_probabilities[at][column], strict=True)
        return [(texts.get(token, "?"), chance) for token, chance in found]

    def final_rank(self, column: int) -> int | None:
        """The rank of the position's final token among the tokens listed; None where it is not among them."""
        final = self.result.streams[-1].top_ids[-1][column][0]
        ids = self.stream.top_ids[self.place][column]
        return ids.index(final) if final in ids else None

    def numbers(self, column: int) -> str:
        """Entropy, divergence and the final token's rank in words."""
        at, rank = self.place, self.final_rank(column)
        deep = f"{self.result.top}+" if rank is None else str(rank)
        entropy, divergence = self.stream.entropy[at][column], self.stream.divergence[at][column]
        return f"entropy {number(entropy)}, KL {number(divergence)}, rank {deep}"

    def strengths(self, column: int) -> dict[str, int]:
        """How strongly the place is coloured by each measure, in percent of opacity, by the measures' letters."""
        at, rank, scale = self.place, self.final_rank(column), self.scale
        chance = self.stream.top_probabilities[at][column][0]
        logprob = math.log(chance) if chance > 0 else LEAST_LOGPROB
        shares = {
            "p": chance,
            "l": 1 - max(LEAST_LOGPROB, logprob) / LEAST_LOGPROB,
            "r": 0.0 if rank is None else 1 - math.log(1 + rank) / math.log(1 + max(self.result.top, 1)),
            "e": self.stream.entropy[at][column] / scale.entropy if scale.entropy else 0.0,
            "k": self.stream.divergence[at][column] / scale.divergence if scale.divergence else 0.0,
        }
        return {key: percent_of(share) for key, share in shares.items()}


def measures_of(result: LensReading) -> list[Measure]:
    """The choices; the first is the one that a page begins with."""
    scale = Scale.of(result.streams)
    entropy, divergence = number(scale.entropy), number(scale.divergence)
    return [
        Measure("p", "probability", "Probability of the token in the cell, the likeliest there.", POSITIVE, "0", "1"),
        Measure(
            "l",
            "log-probability",
            "The same in nats: tells small probabilities apart.",
            POSITIVE,
            f"{number(LEAST_LOGPROB)} and below",
            "0",
        ),
        Measure(
            "r",
            "rank",
            "Rank, here, of the token that is the likeliest in the end; 0 where it is on top already.",
            POSITIVE,
            f"{result.top:,} or deeper (not listed)",
            "rank 0",
        ),
        Measure("e", "entropy", "Entropy of the distribution, in nats: 0 where it is sure.", SURPRISE, "0", entropy),
        Measure("k", "KL", "KL(final ‖ here), in nats: how far it is from the end.", NEGATIVE, "0", divergence),
    ]


def percent_of(share: float) -> int:
    """A share from 0 to 1 as percent of opacity."""
    return round(100 * opacity_of(share))


def solid_css(hue: RGB, percent: int) -> str:
    """A colour at that opacity."""
    return f"rgb({hue[0]} {hue[1]} {hue[2]}/{percent}%)"
