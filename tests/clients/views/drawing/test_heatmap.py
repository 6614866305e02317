"""The coloured prompt: drawn from offsets, safe with any text."""

import html
import math
import re

import pytest

from explaind.contract.blocks.attribution_result import ScoredText
from explaind.contract.blocks.units import Unit
from explaind.views.attribution import sections
from explaind.views.drawing.heatmap import heatmap_html, legend_html, pieces
from explaind.views.drawing.palette import diverging_css, diverging_on_paper, largest, share_of, surprise_of
from explaind.views.registry import notebook_html

SPAN = re.compile(r"<span([^>]*)>(.*?)</span>", re.S)


def drawn(markup: str) -> str:
    """The text of the markup as a reader sees it."""
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


@pytest.mark.parametrize(
    "prompt",
    [
        "great food, great place",
        "  leading\n\nlines\tand tabs  ",
        "the 👩‍👩‍👧 family 😀😀 was great",
        "מרחב great مرحبا",
        "<b>great</b> & \"great\" 'food' &amp;",
        "great",
    ],
)
def test_the_whole_prompt_is_drawn_as_it_is(attribution, prompt):
    made = attribution(prompt)
    assert "".join(piece.text for piece in pieces(made)) == prompt
    assert drawn(heatmap_html(made)) == prompt


def test_repeated_words_keep_their_own_values(attribution):
    made = attribution()
    made.values[0], made.values[3] = 2.0, -2.0
    coloured = [(piece.text, piece.value) for piece in pieces(made) if piece.text == "great"]
    assert coloured == [("great", 2.0), ("great", -2.0)]


def test_a_unit_that_speaks_for_the_target_has_the_colour_of_the_scales_right_end(attribution):
    made = attribution()
    made.values[:] = [2.0, *[0.0] * (len(made.values) - 2), -2.0]
    colours = re.findall(r"background:([^;]+);", heatmap_html(made))
    assert (colours[0], colours[-1]) == (diverging_css(1.0), diverging_css(-1.0))


def test_units_are_drawn_by_offset_not_by_text(attribution):
    made = attribution("a b", units=[Unit(text="somewhere else", start=2, end=3)])
    assert [(piece.text, piece.units) for piece in pieces(made)] == [("a ", ()), ("b", (0,))]


def test_tokens_of_one_emoji_are_one_piece(attribution):
    units = [Unit(text="�", start=2, end=3), Unit(text="�", start=2, end=3), Unit(text="!", start=3, end=4)]
    made = attribution("a 😀!", units=units)
    made.values[:] = [1.0, 0.5, 0.25]
    assert [(piece.text, piece.units, piece.value) for piece in pieces(made)] == [
        ("a ", (), None),
        ("😀", (0, 1), 1.5),
        ("!", (2,), 0.25),
    ]


def test_overlapping_units_never_draw_a_character_twice(attribution):
    units = [
        Unit(text="abc", start=0, end=3),
        Unit(text="cde", start=2, end=5),
        Unit(text="s", start=0, end=0),
    ]
    made = attribution("abcdef", units=units)
    assert "".join(piece.text for piece in pieces(made) if not piece.inserted) == "abcdef"


def test_units_without_characters_are_shown_by_name(attribution):
    made = attribution("a", units=[Unit(text="<s>", start=0, end=0, special=True), Unit(text="a", start=0, end=1)])
    assert [(piece.text, piece.inserted) for piece in pieces(made)] == [("<s>", True), ("a", False)]
    assert "&lt;s&gt;" in heatmap_html(made)


def test_hostile_text_is_escaped_everywhere(attribution):
    hostile = "<script>alert(1)</script>\"' onload=x"
    made = attribution(
        hostile,
        units=[Unit(text=hostile, start=0, end=len(hostile), name=hostile)],
        target=ScoredText(text=hostile, tokens=[]),
        foil=ScoredText(text=hostile, tokens=[]),
        algorithm=hostile,
    )
    page = notebook_html(made)
    assert "<script" not in page
    assert set(re.findall(r"<(\w+)", page)) <= {"div", "span", "code"}
    for attributes in re.findall(r"<\w+([^>]*)>", page):
        assert re.fullmatch(r'(\s[\w-]+="[^"]*")*', attributes)


def test_control_characters_and_overrides_are_made_visible(attribution):
    page = heatmap_html(attribution("a\x1b[31m\u202eb\x00"))
    assert not {"\x1b", "\u202e", "\x00"} & set(page)


def test_tooltips_tell_value_and_standard_error(attribution):
    made = attribution("great", standard_errors=[0.25])
    assert 'title="great: +1.500 ± 0.250"' in heatmap_html(made)


def test_a_notebook_shows_it(attribution):
    page = attribution()._repr_html_()
    assert "What speaks for" in page
    assert "evaluations" in page


def test_values_that_are_all_zero_have_no_colour(attribution):
    page = heatmap_html(attribution(worth={"great": 0.0, "food": 0.0, ",": 0.0, "place": 0.0}))
    assert "rgba(230" not in page
    assert "rgba(44" not in page


def test_the_scale_is_symmetric():
    assert share_of(-2.0, 4.0) == -share_of(2.0, 4.0)
    opacity = re.compile(r"[\d.]+\)$")
    assert opacity.findall(diverging_css(0.5)) == opacity.findall(diverging_css(-0.5))
    assert diverging_css(0.5) != diverging_css(-0.5)
    assert largest([1.0, -3.0, math.nan, math.inf]) == 3.0
    assert share_of(math.nan, 1.0) == 0.0


@pytest.mark.parametrize("share", [-1.0, -0.6, -0.3, -0.02, 0.02, 0.3, 0.6, 1.0])
def test_text_can_be_read_on_every_colour(share):
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    back, fore = diverging_on_paper(share)
    bright, dark = sorted((luminance(back), luminance(fore)), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_surprise_ends_at_one():
    assert surprise_of(0.0) == 0.0
    assert surprise_of(-1e9) == 1.0
    assert surprise_of(-math.inf) == 1.0


def test_the_legend_ends_in_the_colours_of_the_strongest_cells(attribution):
    """For a reader who matches colours to numbers; only the texts beside the scale are faded."""
    made = attribution(worth={"great": 2.0, "food": -2.0})
    cells = re.findall(r'<span title="[^"]*" style="background:(rgba\([^)]*\))', heatmap_html(made))
    legend = legend_html(made)
    bar = re.search(r'<span style="([^"]*)" class="scale">', legend).group(1)
    stops = re.findall(r"rgba\([\d,.]+\)|transparent", bar.partition("linear-gradient")[2])
    assert (stops[0], stops[-1]) == (cells[1], cells[0]), "food at one end, great at the other"
    assert "opacity" not in bar
    assert "opacity" not in legend.partition(">")[0], "nothing around the bar fades it"
    assert bar in made._repr_html_()
    assert bar in "".join(sections(made))
