"""HTML view of a tuned lens: its predictions at each layer, and its divergence compared with the logit lens."""

import math
from collections.abc import Sequence

from explaind.contract.methods.explain.tuned_lens import TunedLens
from explaind.contract.methods.train.tuned_lens import TunedLensTraining
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.line_chart import Axis, Line, line_chart
from explaind.views.drawing.palette import NEGATIVE, css
from explaind.views.drawing.tables import table
from explaind.views.drawing.text import number, percent, plural, shown, size
from explaind.views.lens import heading as lens_heading
from explaind.views.lens import notebook as lens_notebook
from explaind.views.lens import sections as lens_sections
from explaind.views.parts.lens_grid import NAMES
from explaind.views.registry import View

SIZE = (520, 220)


def notebook(result: TunedLens) -> Markup:
    """The lens for a notebook: its grid, and the comparison with the logit lens."""
    return join([lens_notebook(result), notebook_frame("lens", _comparison(result), wide=True)])


def sections(result: TunedLens) -> list[Markup]:
    """The cards of the report."""
    return [
        *lens_sections(result),
        section("Beside the logit lens", _comparison(result), note="means over the positions", class_="flow"),
        section("The lens", facts(origin(result))),
    ]


def origin(result: TunedLens) -> dict[str, Node]:
    """Where the lens comes from, and what of it was compared with the model."""
    lens = result.lens
    return {
        "Lens": tag("code", shown(lens.name)),
        "Format": lens.form,
        "Made for": shown(lens.made_for),
        "The same as this model's": shown(", ".join(lens.checked)),
        "Steps of training": None if lens.trained_steps is None else f"{lens.trained_steps:,}",
    }


def made(result: TunedLensTraining) -> dict[str, Node]:
    """What the training made, and from what."""
    held, lens = result.held_out, result.lens
    return {
        "Artifact": tag("code", lens.id),
        "File": f"{shown(lens.name)}, {size(lens.bytes)}, {shown(lens.kind)} of {shown(lens.model)}",
        "Trained on": f"{plural(result.train_texts, 'text')}, {plural(result.train_tokens, 'token')}",
        "Held out": f"{plural(held.texts, 'text')}, {plural(held.tokens, 'token')}",
        "Optimizer": f"{result.optimizer}, learning rate {result.learning_rate:g}",
        "Ended by": result.finish_reason,
    }


def training_heading(result: TunedLensTraining) -> Markup:
    """The outcome of the training as a sentence."""
    return join(["A tuned lens of ", tag("code", shown(result.lens.model)), f" after {plural(result.steps, 'step')}"])


def training_notebook(result: TunedLensTraining) -> Markup:
    """Notebook view of a training: both lenses by layer."""
    return notebook_frame("lens", tag("div", tag("b", training_heading(result))), _qualities(result), wide=True)


def training_sections(result: TunedLensTraining) -> list[Markup]:
    """The cards of the report."""
    held = result.held_out
    places = max(1, len(held.layers) - 1)  # at the last one there is nothing to gain
    told: dict[str, tuple[str, str | None]] = {
        "Logit lens": (number(math.fsum(held.logit_lens) / places), "mean KL over the layers, held out"),
        "Tuned lens": (number(math.fsum(held.tuned_lens) / places), "the same of the lens that was kept"),
        "Steps": (f"{result.steps:,}", f"{result.tokens:,} tokens; ended by {result.finish_reason}"),
    }
    losses = result.history.kl
    line = Line("KL of the batches", losses, range(1, len(losses) + 1))
    checks = Line("KL on the held-out texts", result.history.held_out_kl, result.history.check_steps, css(NEGATIVE))
    curve = line_chart([line, checks], title="KL by step", x=Axis("step", whole=True), y=Axis(low=0.0), size=SIZE)
    return [
        section("Held-out texts", _qualities(result), note="KL to what the model says in the end, nats", class_="flow"),
        tiles(told),
        section("Training", curve),
        section("What was made", facts(made(result))),
    ]


def _comparison(result: TunedLens) -> Markup:
    tuned = [_mean(row) for stream in result.streams for row in stream.divergence]
    plain = [_mean(row) for stream in result.logit_lens for row in stream.divergence]
    agreement = [
        pair
        for ours, theirs in zip(result.streams, result.logit_lens, strict=True)
        for pair in zip(ours.agreement, theirs.agreement, strict=True)
    ]
    names = [(stream.stream, layer) for stream in result.streams for layer in stream.layers]
    rows = [
        tag(
            "tr",
            tag("td", NAMES.get(stream, stream)),
            tag("td", str(layer), class_="num quiet"),
            [tag("td", number(value), class_="num") for value in (plain[at], tuned[at])],
            [tag("td", percent(share), class_="num") for share in (agreement[at][1], agreement[at][0])],
        )
        for at, (stream, layer) in enumerate(names)
    ]
    head = ["Stream", "Layer", "KL, logit lens", "KL, tuned lens", "Final token on top, logit lens", "tuned lens"]
    return join([_by_layer(plain, tuned, names), table(head, rows)])


def _qualities(result: TunedLensTraining) -> Markup:
    held = result.held_out
    names = list(zip(held.streams, held.layers, strict=True))
    rows = [
        tag(
            "tr",
            tag("td", NAMES.get(stream, stream)),
            tag("td", str(layer), class_="num quiet"),
            tag("td", number(held.logit_lens[at]), class_="num"),
            tag("td", number(held.tuned_lens[at]), class_="num"),
        )
        for at, (stream, layer) in enumerate(names)
    ]
    figure = _by_layer(held.logit_lens, held.tuned_lens, names)
    return join([figure, table(["Stream", "Layer", "KL, logit lens", "KL, tuned lens"], rows)])


def _by_layer(plain: Sequence[float], tuned: Sequence[float], names: Sequence[tuple[str, int]]) -> Markup:
    lines = [Line("logit lens", plain, colour=css(NEGATIVE)), Line("tuned lens", tuned)]
    places = Axis("layer", names=["emb." if stream == "resid_pre" else str(layer) for stream, layer in names])
    return line_chart(lines, title="KL to the final distribution, nats", x=places, y=Axis(low=0.0), size=SIZE)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / max(1, len(values))


VIEWS = (
    View(TunedLens, heading=lambda _, result: lens_heading(result), notebook=notebook, sections=sections),
    View(
        TunedLensTraining,
        heading=lambda _, result: training_heading(result),
        notebook=training_notebook,
        sections=training_sections,
    ),
)
