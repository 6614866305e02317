import numpy as np
import pytest

from explaind.contract.blocks.subject import PromptRequest
from explaind.contract.blocks.units import ReplacementText, Segments
from explaind.contract.errors import NoBaselineToken
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.models.text.tokenizer import Encoder

PROMPT = "The food was great"


@pytest.fixture
def encoder(tokenizer):
    return Encoder(tokenizer, 128)


def rows(encoder, baseline, coalition, units="word"):
    encoded = encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    unit_map = units_of(encoded, units)
    replacement = replacement_for(baseline, encoder, encoded, unit_map)
    players = Masker(encoded, unit_map, replacement)
    return encoded, next(iter(players.rows(np.array([coalition], dtype=bool)))).tolist(), unit_map


def test_everything_present_is_the_prompt(encoder):
    for baseline in ("mask", "pad", "remove", ReplacementText(text=" x")):
        encoded, row, _ = rows(encoder, baseline, [1, 1, 1, 1])
        assert row == list(encoded.token_ids)


def test_mask_keeps_the_length_and_replaces_each_token(encoder, tokenizer):
    encoded, row, unit_map = rows(encoder, "mask", [1, 0, 1, 1])
    assert len(row) == len(encoded)
    for token, own, unit in zip(row, encoded.token_ids, unit_map.unit_of_token, strict=True):
        assert token == (tokenizer.mask_token_id if unit == 1 else own)


def test_remove_shortens_and_keeps_the_start_token(encoder, tokenizer):
    _, row, _ = rows(encoder, "remove", [0, 0, 0, 0])
    assert row == [tokenizer.bos_token_id]


def test_a_text_stands_in_once_per_unit(encoder, tokenizer):
    _, row, _ = rows(encoder, ReplacementText(text=" small"), [1, 0, 1, 0])
    assert tokenizer.decode(row[1:]) == "The small was small"


def test_text_outside_segments_is_never_absent(encoder, tokenizer):
    _, row, _ = rows(encoder, "remove", [0], units=Segments(segments=[(4, 8)]))
    assert tokenizer.decode(row[1:]) == "The was great"


def test_mask_falls_back_to_what_the_model_has(encoder, tokenizer):
    encoded = encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    unit_map = units_of(encoded, "word")
    mask, tokenizer.mask_token = tokenizer.mask_token, None
    try:
        replacement = replacement_for("mask", encoder, encoded, unit_map)
        assert (replacement.choice, replacement.text) == ("mask", "<pad>")
    finally:
        tokenizer.mask_token = mask


def test_remove_is_refused_where_nothing_would_be_left(encoder):
    encoded = encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    unit_map = units_of(encoded, "word")
    everything = type(unit_map)(unit_map.units, tuple(u or 0 for u in unit_map.unit_of_token))
    with pytest.raises(NoBaselineToken) as caught:
        replacement_for("remove", encoder, encoded, everything)
    assert caught.value.errors[0].pointer == "/baseline"


@pytest.mark.parametrize("units", ["token", "word", Segments(segments=[(0, 8), (13, 18)])])
@pytest.mark.parametrize("text", [" x", " the food was small", " great"])
def test_the_longest_row_is_the_longest_of_all(encoder, units, text):
    encoded = encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    unit_map = units_of(encoded, units)
    players = Masker(encoded, unit_map, replacement_for(ReplacementText(text=text), encoder, encoded, unit_map))
    every = np.array(list(np.ndindex(*(2,) * len(unit_map))), dtype=bool)
    assert players.longest == max(len(row) for row in players.rows(every))


@pytest.mark.parametrize("special", [{}, {"mask_token": None, "unk_token": None, "pad_token": None, "eos_token": None}])
def test_a_hint_names_only_what_can_be_used(encoder, monkeypatch, special):
    encoded = encoder.prompt(PromptRequest(model="m", prompt=PROMPT))
    unit_map = units_of(encoded, "word")
    everything = type(unit_map)(unit_map.units, tuple(u or 0 for u in unit_map.unit_of_token))
    for name in special:
        monkeypatch.setattr(type(encoder.tokenizer), f"{name}_id", None, raising=False)
    with pytest.raises(NoBaselineToken) as removing:
        replacement_for("remove", encoder, encoded, everything)
    assert removing.value.hint == ('Choose {"text": "…"}.' if special else 'Choose "mask" or "pad" or {"text": "…"}.')
    if special:
        for units, hint in ((everything, 'Choose {"text": "…"}.'), (unit_map, 'Choose "remove" or {"text": "…"}.')):
            with pytest.raises(NoBaselineToken) as masking:
                replacement_for("mask", encoder, encoded, units)
            assert masking.value.hint == hint
