"""Generation, scoring, classification, tokenization and questions in one line."""

from collections.abc import Iterator

from explaind.contract.methods.evaluate.questions import QuestionsEvaluation
from explaind.contract.methods.infer.classify import Classification
from explaind.contract.methods.infer.generate import Generation
from explaind.contract.methods.infer.score import Scoring
from explaind.contract.methods.infer.tokenize import Tokenization
from explaind.views.drawing.summary_line import MOST_ITEMS, amount, bare, quoted
from explaind.views.drawing.text import plural, whole_percent
from explaind.views.registry import View


def _generation(result: Generation) -> Iterator[str]:
    yield quoted(result.text, 80)
    yield plural(len(result.tokens), "token")
    yield f"logprob {amount(result.logprob)}"
    yield f"ended by {result.finish_reason}"


def _scoring(result: Scoring) -> Iterator[str]:
    yield quoted(result.text, 80)
    yield plural(len(result.tokens), "token")
    yield f"logprob {amount(result.logprob)}"
    yield f"perplexity {amount(result.perplexity)}"


def _classification(result: Classification) -> Iterator[str]:
    order = sorted(result.classes, key=lambda scored: scored.index != result.predicted)
    for scored in order[:MOST_ITEMS]:
        value = f"logit {amount(scored.logit)}" if scored.probability is None else f"{scored.probability:.1%}"
        yield f"{quoted(scored.label)} {value}"
    if len(order) > MOST_ITEMS:
        yield f"… {plural(len(order) - MOST_ITEMS, 'more')}".removesuffix("s")


def _tokenization(result: Tokenization) -> Iterator[str]:
    yield plural(result.count, "token")
    yield plural(len(result.units), "unit")
    yield "|".join(bare(token.text, 12) for token in result.tokens[:12])


def _questions(result: QuestionsEvaluation) -> Iterator[str]:
    total = result.total
    yield f"{total.right} of {plural(total.count, 'question')} right"
    yield f"{whole_percent(total.accuracy)} [{whole_percent(total.low)}, {whole_percent(total.high)}]"
    for failure in result.failures:
        if failure.count:
            yield f"{failure.category} {failure.count}"


VIEWS = (
    View(Generation, summary=_generation),
    View(Scoring, summary=_scoring),
    View(Classification, summary=_classification),
    View(Tokenization, summary=_tokenization),
    View(QuestionsEvaluation, summary=_questions),
)
