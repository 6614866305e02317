"""explain/logit-attribution: contributions of embedding, heads and MLPs to a logit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from explaind.contract.blocks.attribution import AttributionRequest
from explaind.contract.blocks.attribution_result import ScoredText, ScoredToken
from explaind.contract.errors import NonFiniteScore, RequestTooLarge, SelfCheckFailed
from explaind.contract.methods.explain.logit_attribution import (
    MOST_NUMBERS,
    Contributions,
    LogitAttribution,
    LogitAttributionParams,
    TokenContributions,
    strongest,
)
from explaind_worker.attribution.query import AttributionQuery
from explaind_worker.engine.activations.direct_logit_attribution import Read, Split, split_logits
from explaind_worker.engine.scoring.score_query import ScoreSpec
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.models.structure.self_check import QUANTIZED_TOLERANCE, TOLERANCE
from explaind_worker.session.session import Session


def run(params: LogitAttributionParams, session: Session) -> LogitAttribution:
    """Splits the logits of every token of target and foil, and sums the columns."""
    asked = AttributionRequest(
        model=params.model,
        prompt=params.prompt,
        messages=params.messages,
        target=params.target,
        foil=params.foil,
        score="logit",
        units="token",
    )
    inquiry = AttributionQuery(asked, session)
    anatomy = session.model_access.anatomy()
    question = inquiry.question()
    reads, signs = _reads(inquiry.encoded.token_ids, question)
    explained = np.flatnonzero(question.explained)
    if params.by_target:
        _check_size(anatomy, len(explained))
    longest = max(len(read.read) for read in reads)
    limits = session.model_access.batch_limits(longest, reads=len(reads))
    model = session.model_access.model()
    split = split_logits(
        model, reads, limits=limits, meter=session.job.meter, report_progress=session.job.report_progress
    )
    _check_sum(model, split)
    softcap = anatomy.logit_softcap is not None
    texts = _texts(inquiry, question, split.logprobs)
    tokens = [token for text in texts for token in text.explained_tokens]
    columns = [
        TokenContributions(
            **_fields(split, explained[place : place + 1], signs, softcap=softcap),
            text=token.text,
            id=token.id,
            sign=1 if signs[explained[place]] > 0 else -1,
        )
        for place, token in enumerate(tokens if params.by_target else [])
    ]
    sums = _fields(split, explained, signs, softcap=softcap)
    return LogitAttribution(
        **sums,
        prompt=inquiry.encoded.text,
        target=texts[0],
        foil=texts[1] if question.foil is not None else None,
        ranking=strongest(Contributions(**sums).components, params.top),
        by_target=columns,
    )


def _reads(prompt: tuple[int, ...], question: ScoreSpec) -> tuple[list[Read], FloatArray]:
    """Every token of target and foil, also those before the explained span, each with its sign."""
    reads = [
        Read((*prompt, *continuation[:place]), token, row=(*prompt, *continuation[:-1]))
        for continuation in question.continuations
        for place, token in enumerate(continuation)
    ]
    signs = [1.0] * len(question.continuations[0]) + [-1.0] * (len(reads) - len(question.continuations[0]))
    return reads, np.array(signs)


def _check_size(anatomy: Anatomy, columns: int) -> None:
    numbers = columns * (len(anatomy.blocks) * (anatomy.heads + 2) + 3)
    if numbers > MOST_NUMBERS:
        raise RequestTooLarge.at(
            "/by_target",
            f"The contributions to each of {columns} tokens are {numbers:,} numbers; at most {MOST_NUMBERS:,} fit an "
            "answer.",
            hint='Ask for their sums alone ("by_target": false), or explain a span of the target.',
        )


def _check_sum(model: LoadedModel, split: Split) -> None:
    """Refuses contributions that do not add up to the model's own logits."""
    if not np.isfinite(split.logits).all():
        raise NonFiniteScore(
            f"{model.entry.name} answers with logits that are not numbers.", hint='Try dtype = "float32".'
        )
    quantized = model.quantization is not None
    allowed = QUANTIZED_TOLERANCE if quantized else TOLERANCE.get(model.network.dtype, QUANTIZED_TOLERANCE)
    off = float(np.max(np.abs(split.logits - split.sums) / np.maximum(split.magnitudes, 1e-12)))
    if not off <= allowed:  # true for a NaN, too
        raise SelfCheckFailed(
            f"The contributions do not add up to the logits of {model.entry.name}: off by {off:.1e} of their size, "
            f"allowed is {allowed:.0e}.",
            hint="They would be wrong, so they are not given. Please report the model; explain/head-ablation and the "
            "attributions do not depend on this.",
        )


def _texts(inquiry: AttributionQuery, question: ScoreSpec, logprobs: FloatArray) -> list[ScoredText]:
    """Target and foil, their tokens with their log-probabilities."""
    texts = []
    for ids, scored, span in zip(question.answers, question.split(logprobs.tolist()), question.spans, strict=True):
        names = inquiry.session.model_access.encoder.texts_of(ids, after=inquiry.encoded.token_ids)
        known = [*scored, *[None] * (len(ids) - len(scored))]
        tokens = [
            ScoredToken(text=text, id=token, logprob=logprob)
            for text, token, logprob in zip(names, ids, known, strict=True)
        ]
        texts.append(ScoredText(text="".join(names), tokens=tokens, explained=None if span == (0, len(ids)) else span))
    return texts


def _fields(split: Split, columns: NDArray[np.int_], signs: FloatArray, *, softcap: bool) -> dict[str, Any]:
    """The fields of a result, summed over some columns."""

    def total(values: FloatArray) -> Any:
        return np.tensordot(signs[columns], values[columns], axes=1).tolist()

    logit = total(split.logits)
    return {
        "embed": total(split.embed),
        "pos_embed": None if split.pos_embed is None else total(split.pos_embed),
        "heads": total(split.heads),
        "attention_bias": total(split.attention_bias),
        "mlp_out": total(split.mlp_out),
        "bias": total(split.bias),
        "logit": logit,
        "capped_logit": total(split.capped) if softcap else None,
        "gap": logit - total(split.sums),
    }
