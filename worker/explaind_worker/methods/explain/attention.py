"""explain/attention: attention patterns, and classification of heads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from explaind.contract.errors import InvalidRequest, RequestTooLarge
from explaind.contract.methods.explain.attention import (
    MOST_WEIGHTS,
    AttentionParams,
    AttentionPatterns,
    HeadClass,
    HeadLabel,
    HeadPattern,
    HeadScores,
    ProbeScores,
    Scores,
)
from explaind_worker.engine.activations.attention_patterns import KeptPatterns, PatternScores, watch_patterns
from explaind_worker.engine.scoring.rows import FloatArray
from explaind_worker.models.loading.loaded import LoadedModel
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.models.text.tokenizer import EncodedPrompt, Encoder
from explaind_worker.session.prompt_limits import encode_prompt
from explaind_worker.session.session import Session

Head = tuple[int, int]

# The kinds whose strongest head is shown by default: sinks are of little interest.
TELLING: tuple[HeadClass, ...] = ("previous_token", "duplicate_token", "induction", "current_token")
KINDS: tuple[HeadClass, ...] = (*TELLING, "first_token")
PROBED: tuple[HeadClass, ...] = ("previous_token", "duplicate_token", "induction")


def run(params: AttentionParams, session: Session) -> AttentionPatterns:
    """Scores every head on the prompt (and the probe), and returns the requested patterns."""
    encoded = encode_prompt(session, params)
    tokens = len(encoded)
    anatomy = session.model_access.anatomy()
    heads = _heads(params, anatomy)
    queries = _queries(params, tokens, len(TELLING) if heads is None else len(heads))
    sequence = _repeated(params, session.model_access.encoder) if params.induction_probe else None
    sinks = [0, *(i for i in range(1, tokens) if params.special_as_sink and encoded.special[i])]
    session.model_access.batch_limits(max(tokens, 0 if sequence is None else len(sequence.token_ids)), weights=True)
    model = session.model_access.model()
    total = 1 + (heads is None)

    session.job.report_progress("reading attention", 0, total, "forwards")
    scored, kept = PatternScores(encoded.token_ids, sinks), KeptPatterns(heads or (), queries, tokens=tokens)
    _look(model, session, encoded.token_ids, [scored, kept])
    scores = _scores(scored, anatomy)
    if heads is None:
        heads = _telling(scores)
        session.job.report_progress("reading attention", 1, total, "forwards")
        kept = KeptPatterns(heads, queries, tokens=tokens)
        _look(model, session, encoded.token_ids, [kept])
    session.job.report_progress("reading attention", total, total, "forwards")
    probe = None
    if sequence is not None:
        session.job.report_progress("classifying heads", 0, 1, "forwards")
        probe = _probed(model, session, sequence, params.seed)
        session.job.report_progress("classifying heads", 1, 1, "forwards")
    labels = _labels(scores, probe, params.threshold)
    named = {(label.layer, label.head): [] for label in labels}
    for label in labels:
        named[label.layer, label.head].append(label.label)
    return AttentionPatterns(
        prompt=encoded.text,
        tokens=_texts(encoded, session.model_access.encoder),
        token_ids=list(encoded.token_ids),
        sinks=sinks,
        queries=list(queries),
        patterns=[
            HeadPattern(
                layer=layer, head=head, labels=named.get((layer, head), []), weights=_triangle(pattern, queries)
            )
            for (layer, head), pattern in zip(heads, kept.patterns, strict=True)
        ],
        scores=scores,
        probe=probe,
        threshold=params.threshold,
        labels=labels,
        notes=_notes(params, session, queries, tokens),
    )


def _heads(params: AttentionParams, anatomy: Anatomy) -> tuple[Head, ...] | None:
    """The requested heads, None for the strongest of each kind.

    Raises:
        InvalidRequest: the model has no such layer or head.
    """
    layers = len(anatomy.blocks)
    has = f"The model has {layers} layers of {anatomy.heads} heads, counted from 0."
    for index, layer in enumerate(params.layers or []):
        if layer >= layers:
            raise InvalidRequest.at(f"/layers/{index}", f"There is no layer {layer}.", hint=has)
    for index, (layer, head) in enumerate(params.heads or []):
        if layer >= layers or head >= anatomy.heads:
            raise InvalidRequest.at(f"/heads/{index}", f"There is no head {head} of layer {layer}.", hint=has)
    if params.layers is None and params.heads is None:
        return None
    whole = [(layer, head) for layer in params.layers or [] for head in range(anatomy.heads)]
    return tuple(dict.fromkeys([*whole, *(params.heads or [])]))


def _queries(params: AttentionParams, tokens: int, heads: int) -> range | list[int]:
    """The query positions: those requested, otherwise as many of the last as fit.

    Raises:
        InvalidRequest: the prompt has no such position.
        RequestTooLarge: a result cannot hold that many weights.
    """
    if params.queries is None:
        fitting = MOST_WEIGHTS // (max(1, heads) * tokens)
        if fitting < 1:
            raise _too_many("/layers" if params.layers else "/heads", heads, 1, tokens)
        return range(max(0, tokens - fitting), tokens)
    for index, query in enumerate(params.queries):
        if query >= tokens:
            raise InvalidRequest.at(
                f"/queries/{index}", f"There is no position {query}: the prompt has {tokens} tokens, counted from 0."
            )
    if heads * len(params.queries) * tokens > MOST_WEIGHTS:
        raise _too_many("/queries", heads, len(params.queries), tokens)
    return params.queries


def _too_many(pointer: str, heads: int, queries: int, tokens: int) -> RequestTooLarge:
    return RequestTooLarge.at(
        pointer,
        f"{heads:,} heads at {queries:,} positions over {tokens:,} tokens are {heads * queries * tokens:,} weights; "
        f"at most {MOST_WEIGHTS:,} fit an answer.",
        hint="Ask for fewer heads or positions: the scores of all heads are there without their patterns.",
    )


@dataclass(frozen=True)
class _Repeated:
    """Random tokens, repeated once, after the start token if the model has one."""

    token_ids: tuple[int, ...]
    length: int


def _repeated(params: AttentionParams, encoder: Encoder) -> _Repeated:
    """The probe, of the requested length or as long as context and vocabulary allow."""
    tokenizer = encoder.tokenizer
    specials = set(tokenizer.all_special_ids)
    known = [token for token in range(encoder.vocabulary) if token not in specials]
    begin = (tokenizer.bos_token_id,) if encoder.reads(tokenizer.bos_token_id) else ()
    length = max(1, min(params.probe_tokens, (encoder.context - len(begin)) // 2, len(known)))
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(params.seed))[:length].tolist()
    drawn = tuple(known[index] for index in order)
    return _Repeated((*begin, *drawn, *drawn), length)


def _look(
    model: LoadedModel, session: Session, token_ids: Sequence[int], watchers: Sequence[PatternScores | KeptPatterns]
) -> None:
    """One forward of the tokens; the watchers get its weights."""

    def see(layer: int, weights: torch.Tensor) -> None:
        for watcher in watchers:
            watcher.see(layer, weights)

    watch_patterns(model, token_ids, see, meter=session.job.meter)


def _scores(scored: PatternScores, anatomy: Anatomy) -> HeadScores:
    return HeadScores.model_validate(scored.scores(len(anatomy.blocks), anatomy.heads))


def _probed(model: LoadedModel, session: Session, sequence: _Repeated, seed: int) -> ProbeScores:
    """Scores over the second occurrence of the tokens."""
    looking = range(len(sequence.token_ids) - sequence.length, len(sequence.token_ids))
    scored = PatternScores(sequence.token_ids, looking=looking)
    _look(model, session, sequence.token_ids, [scored])
    found = scored.scores(len(model.anatomy.blocks), model.anatomy.heads)
    nothing = [[0.0] * model.anatomy.heads for _ in model.anatomy.blocks]
    return ProbeScores(
        tokens=sequence.length,
        seed=seed,
        previous_token=found["previous_token"] or nothing,
        duplicate_token=found["duplicate_token"] or nothing,
        induction=found["induction"] or nothing,
    )


def _telling(scores: HeadScores) -> tuple[Head, ...]:
    """The strongest head of each kind, each head once."""
    found: list[Head] = []
    for kind in TELLING:
        of_kind: Scores | None = getattr(scores, kind)
        if of_kind is not None:
            values = np.array(of_kind)
            layer, head = np.unravel_index(int(values.argmax()), values.shape)
            found.append((int(layer), int(head)))
    return tuple(dict.fromkeys(found))


def _labels(scores: HeadScores, probe: ProbeScores | None, threshold: float) -> list[HeadLabel]:
    """Heads whose score reaches the threshold, highest first; by the probe for kinds that it measures."""
    found: list[HeadLabel] = []
    for kind in KINDS:
        of_kind: Scores | None = getattr(probe if probe is not None and kind in PROBED else scores, kind)
        for layer, row in enumerate(of_kind or []):
            found += [
                HeadLabel(layer=layer, head=head, label=kind, score=score)
                for head, score in enumerate(row)
                if score >= threshold
            ]
    return sorted(found, key=lambda label: -label.score)


def _triangle(pattern: FloatArray, queries: Sequence[int]) -> list[list[float]]:
    """For each query the weights of the keys up to itself; the others are zero in a causal model."""
    return [row[: query + 1].tolist() for row, query in zip(pattern, queries, strict=True)]


def _texts(encoded: EncodedPrompt, encoder: Encoder) -> list[str]:
    return [
        encoder.text_of([token]) if span is None else encoded.text[slice(*span)]
        for token, span in zip(encoded.token_ids, encoded.spans, strict=True)
    ]


def _notes(params: AttentionParams, session: Session, queries: Sequence[int], tokens: int) -> list[str]:
    notes = []
    if params.queries is None and len(queries) < tokens:
        notes.append(f"Patterns are those of the last {len(queries)} of {tokens} positions; all would be too many.")
    if session.model_access.encoder.packed:
        notes.append("The weights are quantized, and the patterns those of the quantized model.")
    return notes
