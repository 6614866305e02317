"""Every field of every result is shown: in the report and in the terminal, or it is said here why not."""

import fnmatch
import io
import re
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from rich.console import Console

from explaind.cli.views.job import TERMINAL_VIEWS, show_notes
from explaind.contract.base import ResponseModel
from explaind.contract.registry import all_methods
from explaind.views.drawing.cards import notes_card
from explaind.views.drawing.fields import notes_of
from explaind.views.registry import HTML_VIEWS, find_view
from tests.support.whole_results import changes, fields_of, leaves, whole_result, written

RESULTS = sorted({method.result for method in all_methods().values()}, key=lambda result: result.__name__)

# Fields that no page shows: "Class.field", with wildcards.
NOT_FOR_PEOPLE = {
    "*token_ids": "ids are for programs; the texts are shown",
    "*.tokens.id": "ids are for programs; the texts are shown",
    "*.top.id": "ids are for programs; the texts are shown",
    "*.by_target.id": "ids are for programs; the texts are shown",
    "*tracked.token_id": "ids are for programs; the texts are shown",
    "*faithfulness.shares": "the points behind a mean that is shown",
    "*faithfulness.comprehensiveness": "the points behind a mean that is shown",
    "*faithfulness.sufficiency": "the points behind a mean that is shown",
    "*Ablation.effects": "the questions behind a mean and interval that are shown",
    "*.by_question": "the questions behind a mean and interval that are shown",
    "*failures.ablated_said": "the texts behind the counts that are shown",
    "ActivationPatching.grids.scores": "the effects are these, between the two scores that are shown",
    "Attribution.groups.*": "which units the larger ones hold: what the switch between them is made of",
    "*placed.units": "their number is shown",
    "*units.message": "the message is shown with its role and sum",
    "*by_message.units": "their number is shown",
    "MethodComparison.methods.faithfulness.deletion.*": "a method alone has its curves",
    "MethodComparison.methods.faithfulness.insertion.*": "a method alone has its curves",
    "MethodComparison.methods.faithfulness.random_*tion.*": "a method alone has its curves",
    "MethodComparison.methods.faithfulness.*.random_*": "what a share and z beside it are made of",
    "MethodComparison.methods.faithfulness.evaluations": "the evaluations of all are shared",
    "MethodComparison.methods.error.*": "shown of a method that has no values, which here all have",
    "QuestionsEvaluation.total.kind": "always null: the total is of all kinds",
    "QuestionsEvaluation.questions.category": "shown where an answer is wrong; here the entries are all wrong by rule",
    "Scoring.prompt": "shown by its tokens where these were asked for",
    "Tokenization.units.start": "tokens have the places",
    "Tokenization.units.end": "tokens have the places",
    "LogitAttribution.ranking.head": "a head is called by its layer and number; the parts here are embeddings",
    "HeadAblation.first_pass.method": "there is but one",
    "HeadAblation.layers": "the rows of the grid",
    "HeadAblation.heads": "the columns of the grid",
    "MethodComparison.units.special": "a start token is seen by its text",
    "LogitAttribution.by_target.sign": "a token of the foil says so",
    "TunedLensTraining.lens.created_at": "the artifact's card has it",
    "TunedLensTraining.lens.job": "the job is this one",
    "TunedLens.logit_lens.stream": "the same as of the lens itself",
    "TunedLens.logit_lens.layers": "the same as of the lens itself",
}
# Fields that the report shows and the terminal does not.
REPORT_ALONE = {
    "*positions.*": "the rows below the grid hold no more than the texts",
    "*tokens.id": "ids are for programs; the report has them for lack of room elsewhere",
    "*units.role": "by role and message the sums are shown",
    "*units.special": "a start token is seen by its text",
    "MethodComparison.units.*": "the prompt is coloured once per method",
    "Attribution.values_by_target": "a table of units by target tokens",
    "Attribution.faithfulness.*tion.*": "curves; their areas stand in the table",
    "MethodComparison.methods.standard_errors": "the prompt is coloured once per method",
    "MethodComparison.methods.faithfulness.*.value": "the line says how many random orders each beats",
    "AttentionPatterns.scores.*": "grids of all heads; the heads of a known kind are listed",
    "AttentionPatterns.probe.*": "grids of all heads; the heads of a known kind are listed",
    "*Ablation.prompts": "a table of the questions",
    "*Ablation.answers": "a table of the questions",
    "*Ablation.foils": "a table of the questions",
    "*Ablation.clean": "a table of the questions",
    "*Ablation.failures.clean_said": "a table of the questions",
    "HeadAblation.sets.*": "the mean effects are listed",
    "HeadAblation.greedy.*": "the metric is listed step by step",
    "HeadAblation.first_pass.*": "a grid of its own; its agreement with the exact effects is said",
    "LogitAttribution.by_target.*": "a table of the target's tokens",
    "QuestionsEvaluation.questions.*": "one line a question: what was asked, expected and said, and how it was judged",
    "QuestionsEvaluation.activations.*": "curves; the layer that differs most is said",
    "Classification.classes.index": "classes stand in this order",
    "Generation.text": "its tokens are shown",
    "Scoring.text": "its tokens are shown",
    "Tokenization.prompt": "its tokens are shown",
    "TunedLensTraining.history.kl": "a curve; the KL on held-out texts is listed",
    "*Lens.streams.stream": "the grid is of the main one; all are named",
    "*Lens.streams.top_probabilities": "the colour of a cell",
    "*Lens.tracked.positions": "the last position is shown",
    "*Lens.streams.agreement": "a table of the layers",
    "*Lens.streams.entropy": "a curve and a choice of colour",
    "*Lens.streams.divergence": "a curve and a choice of colour",
    "*Lens.streams.first_layer": "said of each token of the text",
    "*Lens.streams.settled_layer": "said of each token of the text",
    "TunedLens.logit_lens.agreement": "a table of the layers",
}


def listed(name: str, *reasons: dict[str, str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for table in reasons for pattern in table)


def report(result: type[ResponseModel], whole: dict[str, Any]) -> str:
    """The heading, the notes and the cards of a report."""
    made, view = result.model_validate(whole), find_view(result)
    assert view.heading
    assert view.sections
    job: Any = SimpleNamespace(model="demo", method="explain/x")
    notes = notes_card(notes_of(made))
    return f"{view.heading(job, made)}{notes or ''}" + "".join(map(str, view.sections(made)))


def terminal(result: type[ResponseModel], whole: dict[str, Any]) -> str:
    """The lines of a wide terminal without colours."""
    made, show = result.model_validate(whole), find_view(result, HTML_VIEWS, TERMINAL_VIEWS).terminal
    assert show
    to = Console(file=io.StringIO(), width=300, color_system=None, _environ={})
    show_notes(to, made)
    show(to, made)
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.__name__)
def test_every_field_is_shown_or_it_is_said_why_not(result: type[ResponseModel]) -> None:
    """By its value, or since the page is another one once the field is."""
    whole = whole_result(result)
    values, fields = dict(leaves(whole)), fields_of(whole)
    missing = []
    for draw, reasons in ((report, [NOT_FOR_PEOPLE]), (terminal, [NOT_FOR_PEOPLE, REPORT_ALONE])):
        page = draw(result, whole)
        said = set(re.findall(r"[\w.,:−+-]+", page))
        for name, paths in fields.items():
            words = {word for path in paths for word in written(values[path])}
            if not listed(f"{result.__name__}.{name}", *reasons) and not words & said:
                with suppress(ValidationError, LookupError):  # no change that the class and its view allow
                    if any(draw(result, changed) != page for changed in changes(whole, paths)):
                        continue
                missing.append(f"{name}, {draw.__name__}")
    assert missing == []


def test_no_reason_outlives_its_field() -> None:
    names = {f"{result.__name__}.{name}" for result in RESULTS for name in fields_of(whole_result(result))}
    for pattern in (*NOT_FOR_PEOPLE, *REPORT_ALONE):
        assert fnmatch.filter(names, pattern), f"{pattern} is no field of any result"
