"""Frames of notebooks: tables stand at the left whatever the notebook's own stylesheet says."""

import re

from explaind.views.drawing.cards import notebook_frame
from explaind.views.drawing.html import tag


def test_tables_are_at_the_left_and_rows_have_no_tint():
    row = tag("tr", tag("th", "a"), tag("td", "b", class_="num quiet"), tag("td", "c", style="color:red"))
    drawn = notebook_frame("t", tag("table", tag("tbody", row)))
    styles = {text: style for style, text in re.findall(r'<t[dh][^>]* style="([^"]*)">(\w)<', drawn)}
    assert "text-align:left" in styles["a"]
    assert "text-align:right" in styles["b"]
    assert styles["c"].endswith(";color:red")
    assert "text-align:left" in styles["c"]
    assert re.search(r'<table style="margin-left:0[^"]*background:none', drawn)
    assert '<tr style="background:none">' in drawn


def test_a_coloured_cell_keeps_its_colour_and_text_is_not_touched():
    cell = tag("td", "<td>", style="background:rgba(1,2,3,.5);text-align:center")
    drawn = notebook_frame("t", cell)
    assert '<td style="background:rgba(1,2,3,.5);text-align:center">&lt;td&gt;</td>' in drawn
