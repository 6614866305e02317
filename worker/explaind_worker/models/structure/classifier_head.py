"""Sequence classifiers: their classes, and their logits at the one position they read of a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from explaind.contract.errors import GradientsUnavailable, InvalidTarget
from explaind.contract.near_miss import near_miss
from explaind_jobs.catalogue import ModelEntry
from explaind_jobs.model_config import class_names, classifies

Rule = Literal["softmax", "sigmoid", "none"]


@dataclass(frozen=True)
class Classes:
    """The classes of a classifier in order of their index, and the link from logits to probabilities.

    softmax: one class is right; sigmoid: several may be; none: the logits are the outputs (a regression).
    """

    names: tuple[str, ...]
    rule: Rule

    def __len__(self) -> int:
        return len(self.names)

    def index_of(self, chosen: str | int, pointer: str) -> int:
        """The class of that name or index; `pointer` is the field to name in an error.

        Raises:
            InvalidTarget: no class, or several, have that name.
        """
        if isinstance(chosen, int):
            if chosen >= len(self):
                raise InvalidTarget.at(
                    pointer, f"There is no class {chosen}; the last is {len(self) - 1}.", hint=near_miss("", self.names)
                )
            return chosen
        indices = [index for index, name in enumerate(self.names) if name == chosen]
        if not indices:
            raise InvalidTarget.at(pointer, f"No class is called {chosen!r}.", hint=near_miss(chosen, self.names))
        if len(indices) > 1:
            listed = ", ".join(map(str, indices))
            raise InvalidTarget.at(pointer, f"Several classes are called {chosen!r}.", hint=f"Give one of {listed}.")
        return indices[0]

    def logprobs(self, logits: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of logits [..., class]; NaN for a regression."""
        if self.rule == "softmax":
            return logits.log_softmax(-1)
        return nn.functional.logsigmoid(logits) if self.rule == "sigmoid" else torch.full_like(logits, torch.nan)


def classes_of(entry: ModelEntry, config: PreTrainedConfig) -> Classes | None:
    """The classes of the model with that config; None for a causal language model.

    The kind is that of the catalogue, or else follows from the architecture in the config.
    """
    if entry.kind == "causal" or (entry.kind is None and not classifies(config.architectures)):
        return None
    names = tuple(class_names(config.id2label))
    problem = config.problem_type or ("regression" if len(names) == 1 else None)
    rules: dict[str | None, Rule] = {"regression": "none", "multi_label_classification": "sigmoid"}
    return Classes(names, rules.get(problem, "softmax"))


def class_logits(
    network: PreTrainedModel,
    *,
    input_ids: torch.Tensor | None = None,
    inputs_embeds: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    read_at: torch.Tensor | None = None,
) -> torch.Tensor:
    """Logits [row, class] of token ids [row, position] or of embeddings [row, position, hidden].

    Each row has the logits it would have alone; rows are padded on the right where `attention_mask` is 0. A causal body
    is read at `read_at` [row], by default where the model itself reads a single row; unlike there, no padding token is
    needed.

    Raises:
        GradientsUnavailable: embeddings were given to a model that accepts token ids only.
    """
    head = last_token_head(network)
    if head is None:
        try:
            return network(input_ids=input_ids, inputs_embeds=inputs_embeds, attention_mask=attention_mask).logits
        except NotImplementedError as error:  # T5, BART: they derive their decoder's tokens from the ids
            if inputs_embeds is None:
                raise
            raise GradientsUnavailable.at(
                "/model",
                f"{type(network).__name__} reads token ids alone, no embeddings that gradients could be taken of.",
                hint="Use a method that only runs the model forward: explain/shap or explain/feature-ablation.",
            ) from error
    hidden = network.base_model(
        input_ids=input_ids, inputs_embeds=inputs_embeds, attention_mask=attention_mask, use_cache=False
    ).last_hidden_state
    if read_at is None:
        present = torch.ones(hidden.shape[:2], dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        read_at = last_read(network, present.to(hidden.device), input_ids)
    return head(hidden[torch.arange(len(hidden), device=hidden.device), read_at])


def last_read(network: PreTrainedModel, present: torch.Tensor, input_ids: torch.Tensor | None) -> torch.Tensor:
    """The position at which a causal body reads each row, [row]: its last token that is `present` [row, position].

    With token ids it is the last one that is not the padding token, as in the models for a single row, even if that
    token replaces an absent unit; the first if all are padding.
    """
    padding = network.config.get_text_config().pad_token_id
    counted = present if input_ids is None or padding is None else present & (input_ids != padding)
    return (torch.arange(counted.shape[1], device=counted.device) * counted).argmax(-1)


def last_token_head(network: PreTrainedModel) -> nn.Module | None:
    """The head of a causal body, which reads a row's last token; None if the model reads differently."""
    head = getattr(network, "score", None)
    return head if isinstance(head, nn.Module) else None


def head_names(network: PreTrainedModel) -> list[str]:
    """Names of a classifier's modules above its body that have weights."""
    parts = network.named_children()
    return [name for name, part in parts if part is not network.base_model and any(True for _ in part.parameters())]


def longest_row(network: PreTrainedModel, context: int) -> int:
    """Maximum tokens in a row, given the context length of the config.

    RoBERTa and its relatives count positions from the padding token's id on, and have that many fewer.
    """
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            context = min(context, module.num_embeddings - module.padding_idx - 1)
    return context


def filler_of(network: PreTrainedModel) -> int:
    """The filler of shorter rows: the padding token, if the embedding has a row for it."""
    padding, rows = network.config.get_text_config().pad_token_id, network.get_input_embeddings().num_embeddings
    return padding if padding is not None and padding < rows else 0


def padded(rows: Sequence[Sequence[int] | NDArray[np.int64]], filler: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Rows of token ids as one tensor [row, position], padded on the right, and their mask, None if not needed."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), filler)
    for place, row in zip(ids, rows, strict=True):
        place[: len(row)] = torch.as_tensor(row)
    if bool((lengths == lengths[0]).all()):
        return ids, None
    return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()
