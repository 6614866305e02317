"""Whether an attribution's values add up to the difference in score, and the note where they are far from it."""

from explaind.contract.blocks.attribution_result import Attribution

# A gap over this share of the difference in score is large beside it.
NOTEWORTHY = 0.05


def with_gap_note(result: Attribution, why: str, *, noise: float = 0.0) -> Attribution:
    """The result; where its gap is large beside the difference in score, with a note of both numbers and of `why`.

    A gap of `noise` is what rounding of the scores explains. `why` says where the gap comes from and what to do.
    """
    difference, gap = result.full_value - result.base_value, result.completeness_gap
    if abs(gap) <= max(NOTEWORTHY * abs(difference), noise):
        return result
    return result.model_copy(update={"notes": [*result.notes, f"{gap_in_words(result)} {why}"]})


def gap_in_words(result: Attribution) -> str:
    """What the values add up to, by how much the score differs, and the gap between the two."""
    difference, gap = result.full_value - result.base_value, result.completeness_gap
    return (
        f"The values add up to {difference - gap:.4g}, the score differs by {difference:.4g} between baseline and "
        f"prompt: a gap of {gap:.4g}."
    )
