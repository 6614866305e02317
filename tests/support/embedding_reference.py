"""An independent reference for gradients: the score of a continuation as a plain function of input embeddings."""

from collections.abc import Sequence

import torch

from explaind.contract.blocks.subject import PromptRequest
from explaind_worker.models.loading.loaded import LoadedModel


class Embedded:
    """A prompt's embeddings, the mask baseline's, and the sequence's log-probability as captum wants it.

    Everything is one forward over all positions and a log-softmax of the whole vocabulary; `dtype` float64 makes the
    network's copy compute in it. A start token keeps its own embedding.
    """

    def __init__(self, model: LoadedModel, prompt: str, target: str, *, double: bool = False) -> None:
        encoded = model.encoder.prompt(PromptRequest(model="m", prompt=prompt))
        self.ids = encoded.token_ids
        self.target = model.encoder.continuation(encoded, target)
        self.spans = encoded.spans
        if double:
            network = type(model.network)(model.network.config)
            network.load_state_dict(model.network.state_dict())
            self.network = network.double().eval().requires_grad_(requires_grad=False)
        else:
            self.network = model.network
        mask = model.encoder.tokenizer.mask_token_id
        self.full = self._embed(self.ids)
        self.base = self._embed([t if s is None else mask for t, s in zip(self.ids, self.spans, strict=True)])

    def _embed(self, ids: Sequence[int]) -> torch.Tensor:
        return self.network.get_input_embeddings()(torch.tensor([list(ids)])).detach()

    def score(self, prompts: torch.Tensor) -> torch.Tensor:
        """Log-probability [row] of the target after prompts [row, position, hidden], one row at a time."""
        fed = self._embed(self.target[:-1])
        rows = []
        for prompt in prompts:
            logits = self.network(inputs_embeds=torch.cat([prompt[None], fed], dim=1), use_cache=False).logits[0]
            logprobs = logits.log_softmax(-1)
            first = len(self.ids) - 1
            rows.append(sum(logprobs[first + i, token] for i, token in enumerate(self.target)))
        return torch.stack(rows)

    def of_tokens(self, attributions: torch.Tensor) -> list[float]:
        """Sums [token] over the embedding's numbers, without the tokens that are no unit."""
        summed = attributions[0].sum(dim=-1).tolist()
        return [value for value, span in zip(summed, self.spans, strict=True) if span is not None]
