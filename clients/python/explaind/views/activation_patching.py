"""HTML view of activation patching: effects of the patches, layers by positions and by heads."""

from explaind.contract.methods.explain.activation_patching import ActivationPatching, PatchGrid, PatchPoint
from explaind.views.drawing.cards import facts, notebook_frame, section, tiles
from explaind.views.drawing.grids import Grid, grid_svg
from explaind.views.drawing.heatmap import answer_chip, labels_node, scored_node
from explaind.views.drawing.html import Markup, Node, join, tag
from explaind.views.drawing.text import number, one_line, plural, signed
from explaind.views.registry import View

_NAME = "margin-top:.6em"
_QUIET = "opacity:.75"
_HOW = (
    "A cell is one activation carried from one run into the other: 1 brings all of the difference between the answers "
    "over, 0 none. More: docs/guide/activation-patching.md."
)

TITLES: dict[PatchPoint, str] = {
    "resid_pre": "The residual stream that enters a block",
    "attn_out": "What the attention adds",
    "mlp_out": "What the MLP adds",
    "z": "Single heads, at all positions",
}


def effect_grid(result: ActivationPatching, grid: PatchGrid) -> Grid:
    """Normalised effects, with the positions' tokens or the heads as columns; the colour scale ends at 1 or beyond."""
    heads = grid.point == "z"
    names = [str(head) for head in grid.columns] if heads else [token_label(result, place) for place in grid.columns]
    reach = max([1.0, *(abs(effect) for row in grid.effects for effect in row)])
    rows = [str(layer) for layer in grid.layers]
    return Grid(grid.effects, rows, names, column_kind="head" if heads else "token", scale=None if heads else reach)


def token_label(result: ActivationPatching, place: int) -> str:
    """A token of the prompt; both tokens if the corrupted one differs."""
    clean, corrupted = result.tokens[place].strip(), result.corrupted_tokens[place].strip()
    return one_line(clean or result.tokens[place]) if clean == corrupted else one_line(f"{clean}/{corrupted}")


def strongest(result: ActivationPatching, grid: PatchGrid) -> tuple[str, float]:
    """The patch with the largest effect, as text, and its effect."""
    found = [
        (effect, layer, column)
        for layer, row in zip(grid.layers, grid.effects, strict=True)
        for column, effect in zip(grid.columns, row, strict=True)
    ]
    effect, layer, column = max(found, key=lambda cell: cell[0])
    where = f"head {column}" if grid.point == "z" else f"token {column} ({token_label(result, column)})"
    return f"layer {layer}, {where}", effect


def heading(result: ActivationPatching) -> Markup:
    """The patching as a sentence."""
    rather = [" rather than ", answer_chip(result.foil)] if result.foil else []
    return join(["What carries ", answer_chip(result.target), *rather])


def notebook(result: ActivationPatching) -> Markup:
    """The grids for a notebook."""
    grids = [
        [
            tag("div", tag("b", TITLES[grid.point]), style=_NAME),
            grid_svg(effect_grid(result, grid), title=TITLES[grid.point]),
        ]
        for grid in result.grids
    ]
    return notebook_frame(
        "patching",
        tag("div", heading(result)),
        tag("div", summary_line(result), style=_QUIET),
        grids,
    )


def sections(result: ActivationPatching) -> list[Markup]:
    """The cards of the report."""
    texts = {"Clean": one_line(result.prompt), "Corrupted": one_line(result.corrupted)}
    lines = [tag("div", tag("small", f"{name} "), tag("span", text, dir="auto")) for name, text in texts.items()]
    cards = [section("The two prompts", lines, how=_HOW)]
    cards += [
        section(
            TITLES[grid.point],
            grid_svg(effect_grid(result, grid), title=TITLES[grid.point]),
            note="most: {}, {}".format(*_written(strongest(result, grid))),
        )
        for grid in result.grids
    ]
    cards.append(tiles(_tiles(result)))
    cards.append(section("What was asked", facts(asked(result))))
    return cards


def summary_line(result: ActivationPatching) -> str:
    """The meaning of the colours in one line."""
    scores = f"score {number(result.clean_score)} clean, {number(result.corrupted_score)} corrupted"
    into = "clean into corrupted" if result.direction == "denoise" else "corrupted into clean"
    return f"{scores}; {into}: 1 brings all of the difference over, 0 none"


def _written(cell: tuple[str, float]) -> tuple[str, str]:
    return cell[0], signed(cell[1])


def _tiles(result: ActivationPatching) -> dict[str, tuple[str, str | None]]:
    into = ("clean into corrupted", "denoise") if result.direction == "denoise" else ("corrupted into clean", "noise")
    return {
        "Clean": (number(result.clean_score), result.score),
        "Corrupted": (number(result.corrupted_score), result.score),
        "Patches": into,
        "Patched runs": (f"{result.evaluations:,}", plural(len(result.grids), "grid")),
    }


def asked(result: ActivationPatching) -> dict[str, Node]:
    """What was asked, and what an effect is."""
    return {
        "Prompt": one_line(result.prompt),
        "Corrupted": one_line(result.corrupted),
        "Target": scored_node(result.target),
        "Foil": scored_node(result.foil) if result.foil else None,
        "Labels": labels_node(result.labels),
        "Score": result.score,
        "Effect": "(patched − base) / (source − base)",
        "Patched runs": f"{result.evaluations:,}",
    }


VIEW = View(ActivationPatching, heading=lambda _, result: heading(result), notebook=notebook, sections=sections)
