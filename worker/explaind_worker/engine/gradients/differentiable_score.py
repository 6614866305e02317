"""The score as a differentiable function of the prompt's embeddings.

The tensor counterpart of `ScoreSpec.columns`; all logits come from one function, `logits_at`.
"""

from collections.abc import Sequence

import torch

from explaind_worker.engine.batching.dry_run import computed, input_device
from explaind_worker.engine.scoring.score_query import ScoreSpec
from explaind_worker.models.loading.loaded import AnyModel, LoadedClassifier
from explaind_worker.models.structure.classifier_head import class_logits
from explaind_worker.models.structure.logits_at import only_positions

Places = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # group, read and token, [token] each


def logits_at(model: AnyModel, embeddings: torch.Tensor, read_at: torch.Tensor) -> torch.Tensor:
    """Logits [row, read, vocabulary] of rows given as input embeddings [row, position, hidden].

    `read_at` [row, read] are the positions of the logits; a classifier determines its one position itself, and its
    classes are the vocabulary. Hold the model's lock.
    """
    if isinstance(model, LoadedClassifier):
        return class_logits(model.network, inputs_embeds=embeddings)[:, None]
    with only_positions(model.anatomy.unembedding, read_at):
        return model.network(inputs_embeds=embeddings, use_cache=False).logits


def logprobs_of(model: AnyModel, logits: torch.Tensor, places: Places) -> torch.Tensor:
    """Log-probabilities [row, token] at `places` of logits [row, group, read, vocabulary]."""
    logprobs = model.classes.logprobs(logits) if isinstance(model, LoadedClassifier) else logits.log_softmax(-1)
    group, place, token = places
    return logprobs[:, group, place, token]


def embed(model: AnyModel, token_ids: Sequence[int]) -> torch.Tensor:
    """Input embeddings [token, hidden], as they enter the network; zeros for a model without weights."""

    def looked_up() -> torch.Tensor:
        ids = torch.tensor([list(token_ids)], dtype=torch.int64, device=model.device)
        with torch.no_grad():
            return model.network.get_input_embeddings()(ids)[0]

    hidden = model.network.config.get_text_config().hidden_size
    return computed(model, looked_up, placeholder=lambda: torch.zeros(len(token_ids), hidden))


def widened(numbers: torch.Tensor) -> torch.Tensor:
    """The numbers in at least float32, so that sums do not lose precision."""
    return numbers if numbers.dtype == torch.float64 else numbers.float()


class EmbeddedQuestion:
    """Token scores after prompts given as embeddings, all continuations in one forward.

    Continuations that differ in their last token only share a row. `rows`, `reads` and `fed` are as in `shape`.
    """

    def __init__(self, model: AnyModel, question: ScoreSpec) -> None:
        self._model = model
        self._question = question
        self.rows, self.reads, self.fed = self.shape(question)
        groups = list(dict.fromkeys(continuation[:-1] for continuation in question.continuations))
        # Shorter rows are padded on the right, which causal attention ignores, with any token.
        filled = [[*group, *[question.target[0]] * (self.fed - len(group))] for group in groups]
        self._fed = torch.stack([embed(model, ids) for ids in filled])  # [group, token, hidden]
        self._fed_lengths = [len(group) for group in groups]
        last = torch.tensor([[len(group)] for group in groups])
        device = input_device(model)
        self._read_at = torch.arange(self.reads).expand(self.rows, -1).minimum(last).to(device)  # [group, read]
        tokens = [
            (groups.index(continuation[:-1]), place, token)
            for continuation in question.continuations
            for place, token in enumerate(continuation)
        ]
        group, place, token = torch.tensor(tokens, device=device).T
        self._places: Places = (group, place, token)

    @staticmethod
    def shape(question: ScoreSpec) -> tuple[int, int, int]:
        """Number of rows per prompt, most positions read in a row, and tokens fed after the prompt."""
        longest = max(len(continuation) for continuation in question.continuations)
        return len({continuation[:-1] for continuation in question.continuations}), longest, longest - 1

    def scores(self, prompts: torch.Tensor, *, normalised: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and log-probabilities [row, token] of all continuations' tokens after prompts [row, position, hidden].

        Without `normalised` the second are the logits again, for scores that do not use them. Hold the lock.
        """
        count, length = prompts.shape[:2]
        own = prompts.repeat_interleave(self.rows, dim=0)  # [row * group, position, hidden]
        embeddings = torch.cat([own, self._fed.repeat(count, 1, 1)], dim=1)
        # One graph, and for captum one call: rows with different rotary factors are not split, but treated separately.
        with self._model.lengths.each_alone([length + fed for fed in self._fed_lengths] * count, length + self.fed):
            full = logits_at(self._model, embeddings, (length - 1 + self._read_at).repeat(count, 1))
        full = widened(full).unflatten(0, (count, self.rows))  # [row, group, read, vocabulary]
        group, place, token = self._places
        chosen = full[:, group, place, token]
        if not normalised:
            return chosen, chosen
        return chosen, logprobs_of(self._model, full, self._places)

    def columns(self, prompts: torch.Tensor) -> torch.Tensor:
        """Score columns [row, column] after prompts [row, position, hidden]; they add up to the score.

        Hold the lock.
        """
        question = self._question
        needed = question.score != "logit" or question.labels is not None
        return columns_of(question, *self.scores(prompts, normalised=needed))


def columns_of(question: ScoreSpec, logits: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    """`ScoreSpec.columns` for tensors [row, token]: score columns [row, column]."""
    if question.labels is not None:
        return _label_column(question, logprobs)
    values = {"logprob": logprobs, "logit": logits}.get(question.score)
    if values is None:
        values = logprobs.exp()
    signs = torch.ones(values.shape[1], dtype=values.dtype, device=values.device)
    signs[len(question.continuations[0]) :] = -1.0
    return (values * signs)[:, torch.from_numpy(question.explained).to(values.device)]


def _label_column(question: ScoreSpec, logprobs: torch.Tensor) -> torch.Tensor:
    parts = logprobs.split([len(label) for label in question.continuations], dim=1)
    whole = torch.stack([part.sum(dim=1) for part in parts], dim=1)  # [row, label]
    chosen = question.answers.index(question.target)
    if question.score == "logit":  # log-odds of the label against all the others
        others = torch.cat([whole[:, :chosen], whole[:, chosen + 1 :]], dim=1)
        return (whole[:, chosen] - others.logsumexp(1))[:, None]
    normal = (whole[:, chosen] - whole.logsumexp(1))[:, None]
    return normal.exp() if question.score == "prob" else normal
