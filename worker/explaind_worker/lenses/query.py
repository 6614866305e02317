"""Resolves a lens request against tokenizer and model: tokens fed, positions and layers read, tokens tracked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from explaind.contract.blocks.hook_points import StreamPoint
from explaind.contract.blocks.lens import STREAMS, LensRequest
from explaind.contract.blocks.subject import GeneratedTarget, TextTarget, TokenIdsTarget
from explaind.contract.errors import InvalidRequest, InvalidTarget, RequestTooLarge
from explaind_worker.engine.generation.generate import greedy
from explaind_worker.models.text.tokenizer import EncodedPrompt
from explaind_worker.session.job_context import JobContext
from explaind_worker.session.prompt_limits import check_fits, encode_prompt
from explaind_worker.session.session import Session

MOST_TOKENS = 500_000  # tokens listed in a result

TokenIds = tuple[int, ...]
Reading = tuple[StreamPoint, int]  # a hook point and its layer
Refuse = Callable[[InvalidRequest], None]


@dataclass(frozen=True)
class TrackedToken:
    """A tracked token, and the positions at which it is tracked; none: all."""

    token_id: int
    role: Literal["target", "foil", "given"]
    positions: TokenIds = ()


@dataclass(frozen=True)
class LensQuery:
    """`token_ids` are fed: the prompt, followed by the target; `positions` (ascending) of them are read.

    `readings` are ordered by stream, then by layer; the last one is the model's final residual stream. `target` is None
    if it is the model's next token, which is tracked once it is known.
    """

    encoded: EncodedPrompt
    target: TokenIds | None
    foil: TokenIds | None
    positions: TokenIds
    readings: tuple[Reading, ...]
    followed: tuple[TrackedToken, ...]
    layer_count: int

    @property
    def token_ids(self) -> TokenIds:
        """The tokens fed; the last token of the target predicts nothing and is left out."""
        return self.encoded.token_ids + (self.target or ())[:-1]

    def said(self, token_id: int, job: JobContext) -> "LensQuery":
        """The query with the model's next token as target.

        Raises:
            InvalidTarget: the foil is that token.
        """
        ahead = _ahead(self.encoded, (token_id,), self.foil, job.refuse_generated)
        return replace(self, followed=(*ahead, *self.followed))


def lens_question(request: LensRequest, streams: Sequence[StreamPoint], session: Session) -> LensQuery:
    """The request's lens query; makes all checks that need no model weights.

    Raises:
        InvalidRequest: prompt, target, layers or positions cannot be used with this model (the field is named).
        RequestTooLarge: the result would list too many tokens.
    """
    blocks = len(session.model_access.anatomy().blocks)
    encoded = encode_prompt(session, request)
    target = _given(request, encoded, session)
    foil = None if request.foil is None else _continuation(request.foil, encoded, session, "/foil")
    followed = tuple(_tracked(request, encoded, session))
    layers = _indices(request.layers, blocks, "/layers", "layer")
    positions = _positions(request, len(encoded))
    readings = _readings(streams, layers, blocks)
    behind = (
        request.target.generate.max_new_tokens if isinstance(request.target, GeneratedTarget) else len(target or ())
    )
    _refuse_too_many(request, len(readings), len(positions) + behind)
    refuse = _refuse
    if isinstance(request.target, GeneratedTarget):
        target, refuse = _generated(request.target, encoded, session), session.job.refuse_generated
    ahead = [] if target is None else _ahead(encoded, target, foil, refuse)
    first = len(encoded) - 1
    predicting = range(first, first + len(target or (0,)))
    return LensQuery(
        encoded=encoded,
        target=target,
        foil=foil,
        positions=tuple(sorted({*positions, *predicting})),
        readings=readings,
        followed=(*ahead, *followed),
        layer_count=blocks,
    )


def _given(request: LensRequest, encoded: EncodedPrompt, session: Session) -> TokenIds | None:
    """The target if the request gives it; its length is checked in any case."""
    target = request.target
    if target is None:
        return None
    if isinstance(target, GeneratedTarget):
        check_fits(session.model_access, encoded, target.generate.max_new_tokens, "/target/generate/max_new_tokens")
        return None
    return _continuation(target, encoded, session, "/target")


def _continuation(
    continuation: TextTarget | TokenIdsTarget | str, encoded: EncodedPrompt, session: Session, pointer: str
) -> TokenIds:
    ids = session.model_access.continuation(encoded, continuation, pointer=pointer)
    check_fits(session.model_access, encoded, len(ids), pointer)
    return ids


def _generated(target: GeneratedTarget, encoded: EncodedPrompt, session: Session) -> TokenIds:
    wanted = target.generate.max_new_tokens
    session.model_access.batch_limits(len(encoded), new_tokens=wanted)
    said = greedy(
        session.model_access.model(),
        encoded.token_ids,
        wanted,
        meter=session.job.meter,
        report_progress=session.job.report_progress,
    )
    if not said:
        raise InvalidTarget.at("/target", "The model ends here and says nothing.", hint="Give the target as a text.")
    return tuple(said)


def _ahead(encoded: EncodedPrompt, target: TokenIds, foil: TokenIds | None, refuse: Refuse) -> list[TrackedToken]:
    """The target's tokens, each at the position that predicts it, and the foil's token where the two diverge.

    If they do not diverge, `refuse` is called with the error; if it returns, the foil's first token is tracked.
    """
    first = len(encoded) - 1
    followed = [TrackedToken(token, "target", (first + place,)) for place, token in enumerate(target)]
    if foil is None:
        return followed
    parts = next((place for place, pair in enumerate(zip(target, foil, strict=False)) if pair[0] != pair[1]), None)
    if parts is None:
        message = "Target and foil do not part: one begins with all of the other's tokens."
        refuse(InvalidTarget.at("/foil", message, hint="Choose another foil."))
        parts = 0
    return [*followed, TrackedToken(foil[parts], "foil", (first + parts,))]


def _refuse(error: InvalidRequest) -> None:
    raise error


def _tracked(request: LensRequest, encoded: EncodedPrompt, session: Session) -> list[TrackedToken]:
    encoder, followed = session.model_access.encoder, []
    for index, choice in enumerate(request.track):
        pointer = f"/track/{index}"
        if isinstance(choice, int):
            if choice >= encoder.vocabulary:
                message = f"Token id {choice} is outside the vocabulary of {encoder.vocabulary} tokens."
                raise InvalidTarget.at(pointer, message)
            followed.append(TrackedToken(choice, "given"))
            continue
        ids = session.model_access.continuation(encoded, choice, pointer=pointer)
        if len(ids) > 1:
            pieces = ", ".join(map(repr, encoder.texts_of(ids, after=encoded.token_ids)))
            raise InvalidTarget.at(
                pointer,
                f"{choice!r} is {len(ids)} tokens to this model: {pieces}.",
                hint="Give one of them, or as `target` a continuation whose tokens are followed one after the other.",
            )
        followed += [TrackedToken(token, "given") for token in ids]
    return followed


def _positions(request: LensRequest, prompt: int) -> list[int]:
    """The prompt positions to read."""
    if request.last is not None:
        return list(range(max(0, prompt - request.last), prompt))
    return _indices(request.positions, prompt, "/positions", "token of the prompt")


def _indices(wanted: Sequence[int] | None, count: int, pointer: str, what: str) -> list[int]:
    """Ascending unique indices from the beginning; negative ones count from the end."""
    if wanted is None:
        return list(range(count))
    for place, index in enumerate(wanted):
        if not -count <= index < count:
            message = f"There is no {what} {index}: there are {count}."
            raise InvalidRequest.at(
                f"{pointer}/{place}", message, hint=f"Count from 0 to {count - 1}, or from −{count} to −1."
            )
    return sorted({index % count for index in wanted})


def _readings(streams: Sequence[StreamPoint], layers: Sequence[int], count: int) -> tuple[Reading, ...]:
    """The readings ordered by stream; the model's final residual stream is always included, and last."""
    chosen: list[Reading] = [
        (stream, layer)
        for stream in STREAMS
        if stream in streams
        for layer in ([0] if stream == "resid_pre" else layers)
    ]
    final: Reading = ("resid_post", count - 1)
    return (*(reading for reading in chosen if reading != final), final)


def _refuse_too_many(request: LensRequest, readings: int, positions: int) -> None:
    listed = readings * positions * request.top
    fitting = max(1, MOST_TOKENS // (readings * request.top))
    if listed > MOST_TOKENS:
        raise RequestTooLarge.at(
            "/last" if request.last is not None else "/positions",
            f"The result would list {listed:,} tokens: {readings} places in the stream at {positions:,} positions, "
            f"{request.top} tokens each. At most {MOST_TOKENS:,} are.",
            hint=f"Ask for the last {fitting:,} positions, or for fewer streams, layers or tokens of each place.",
        )
