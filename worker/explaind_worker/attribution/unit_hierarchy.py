"""Position of units in the hierarchy of message, sentence and word."""

from bisect import bisect_right
from collections.abc import Sequence

from explaind.contract.blocks.units import Unit
from explaind_worker.engine.scoring.units import sentences, words
from explaind_worker.models.text.tokenizer import EncodedPrompt

Place = tuple[int, int, int]


def places_of(encoded: EncodedPrompt, units: Sequence[Unit]) -> list[Place]:
    """For each unit the index of the message, sentence and word that contain its first character."""
    regions = sorted(encoded.regions, key=lambda region: region.start)
    cuts = [
        [region.start + start for region in regions for start, _ in cut(encoded.text[region.start : region.end])]
        for cut in (sentences, words)
    ]
    starts = [[region.start for region in regions], *cuts]
    return [
        (bisect_right(starts[0], unit.start), bisect_right(starts[1], unit.start), bisect_right(starts[2], unit.start))
        for unit in units
    ]
