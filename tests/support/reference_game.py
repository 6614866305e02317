"""A model's score as a function of the present units, by one plain forward each: what batched answers must equal."""

from functools import cache

import numpy as np
import torch

from explaind.contract.blocks.subject import PromptRequest
from explaind_worker.engine.scoring.masker import Masker, replacement_for
from explaind_worker.engine.scoring.units import units_of
from tests.support.reference import token_logprobs


class PlainGame:
    """Scores [coalition] of a target after a prompt, each coalition by a forward of its own."""

    def __init__(self, model, prompt, target, baseline="mask", units="word"):
        encoded = model.encoder.prompt(PromptRequest(model="m", prompt=prompt))
        ids = model.encoder.continuation(encoded, target)
        unit_map = units_of(encoded, units)
        players = Masker(encoded, unit_map, replacement_for(baseline, model.encoder, encoded, unit_map))
        self.units = players.count

        @cache
        def value(present):
            coalition = np.isin(np.arange(players.count), list(present))[None]
            return float(sum(token_logprobs(model, next(iter(players.rows(coalition))), ids)))

        self._value = value

    def play(self, coalitions):
        """Scores of coalitions [coalition, unit]."""
        return np.array([self._value(frozenset(np.flatnonzero(row).tolist())) for row in coalitions])

    def forward(self, rows):
        """The same as captum asks it."""
        return torch.from_numpy(self.play(rows.numpy() > 0.5))
