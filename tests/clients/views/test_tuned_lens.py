"""A tuned lens and its training as the report and the terminal show them."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from explaind.cli.views.tuned_lens import show_lens_training, show_tuned_lens
from explaind.contract.blocks.lens import DecodedStream, ReadPositions
from explaind.contract.files import ArtifactCard
from explaind.contract.methods.explain.tuned_lens import LensOrigin, PlainStream, TunedLens
from explaind.contract.methods.train.tuned_lens import LensHistory, LensQuality, TunedLensTraining
from explaind.views.tuned_lens import sections, training_sections

EVIL = "<b>evil</b>\x1b[31m"


def decoded(stream, layers, divergence):
    count = len(layers)
    return DecodedStream(
        stream=stream,
        layers=layers,
        top_ids=[[[7]]] * count,
        top_probabilities=[[[0.5]]] * count,
        entropy=[[1.0]] * count,
        divergence=[[value] for value in divergence],
        agreement=[0.25] * count,
        first_layer=[0],
        settled_layer=[0],
    )


@pytest.fixture
def reading():
    plain = [
        PlainStream(stream="resid_pre", layers=[0], divergence=[[21.5]], agreement=[0.0]),
        PlainStream(stream="resid_post", layers=[0, 1], divergence=[[3.25], [0.0]], agreement=[0.0, 1.0]),
    ]
    return TunedLens(
        prompt="3 + 4 =",
        positions=ReadPositions(
            index=[0], token_id=[3], text=["="], special=[False], template=[False], in_target=[False]
        ),
        streams=[decoded("resid_pre", [0], [1.5]), decoded("resid_post", [0, 1], [0.75, 0.0])],
        tracked=[],
        tokens={7: " 7"},
        layer_count=2,
        top=1,
        lens=LensOrigin(name="tuned", form="explaind", made_for=EVIL, checked=["shape"], trained_steps=90),
        logit_lens=plain,
        notes=[EVIL],
    )


@pytest.fixture
def training():
    card = ArtifactCard(
        id="art_" + "0" * 26, name="x.safetensors", bytes=1, created_at=datetime.now(UTC), kind="tuned-lens", model=EVIL
    )
    return TunedLensTraining(
        lens=card,
        held_out=LensQuality(
            streams=["resid_pre", "resid_post"],
            layers=[0, 0],
            logit_lens=[21.5, 0.0],
            tuned_lens=[1.5, 0.0],
            tokens=40,
            texts=3,
        ),
        history=LensHistory(kl=[5.0, 2.0], check_steps=[0, 2], held_out_kl=[21.5, 1.5]),
        steps=2,
        tokens=90,
        train_texts=9,
        train_tokens=45,
        optimizer="sgd",
        learning_rate=1.0,
        finish_reason="steps",
        notes=[EVIL],
    )


def test_both_lenses_stand_side_by_side(reading):
    page = "".join(map(str, sections(reading)))
    for shown in ("21.5", "3.25", "0.75", "logit lens", "tuned lens", "<svg"):
        assert shown in page
    assert "<b>evil" not in page
    assert "<b>evil" not in reading._repr_html_()


def test_a_training_shows_what_was_held_out(training):
    page = "".join(map(str, training_sections(training)))
    for shown in ("21.5", "1.5", "art_000", "3 texts", "<polyline"):
        assert shown in page
    assert "<b>evil" not in page
    assert "<b>evil" not in training._repr_html_()


def test_a_single_step_and_a_single_layer_can_be_drawn(training):
    history = LensHistory(kl=[float("nan")], check_steps=[0], held_out_kl=[0.0])
    quality = training.held_out.model_copy(update={"streams": ["resid_post"], "layers": [0]})
    short = training.model_copy(
        update={
            "history": history,
            "held_out": quality.model_copy(update={"logit_lens": [0.0], "tuned_lens": [0.0]}),
        }
    )
    assert "<svg" in "".join(map(str, training_sections(short)))


def test_the_terminal_says_the_same(reading, training):
    out = io.StringIO()
    console = Console(file=out, width=100)
    show_tuned_lens(console, reading)
    show_lens_training(console, training)
    said = out.getvalue()
    for shown in ("21.5", "0.75", "art_000", "2 steps of sgd"):
        assert shown in said
    assert "\x1b" not in said
