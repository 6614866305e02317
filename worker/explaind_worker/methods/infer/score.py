"""infer/score: log-probability of a given continuation."""

import math

from explaind.contract.blocks.attribution_result import RankedToken
from explaind.contract.methods.infer.score import ScoreParams, Scoring
from explaind_worker.engine.generation.generate import read
from explaind_worker.methods.infer.generate import ranked_tokens
from explaind_worker.models.text.tokenizer import EncodedPrompt
from explaind_worker.session.prompt_limits import check_fits, encode_prompt
from explaind_worker.session.session import Session


def run(params: ScoreParams, session: Session) -> Scoring:
    """Log-probability and rank of every token of the target, and of the prompt if requested."""
    session.model_access.require("causal")
    encoded = encode_prompt(session, params)
    target = session.model_access.continuation(encoded, params.target)
    check_fits(session.model_access, encoded, len(target), "/target")
    limits = session.model_access.batch_limits(len(encoded) + len(target))
    model = session.model_access.model()
    session.job.report_progress("scoring", 0, 1, "forwards")
    prompt = encoded.token_ids
    first = 1 if params.prompt_logprobs else len(prompt)
    readings = read(model, [*prompt, *target], first, params.top_logprobs, meter=session.job.meter, limits=limits)
    session.job.report_progress("scoring", 1, 1, "forwards")
    own = readings[len(prompt) - first :]
    prompt_tokens = None
    if params.prompt_logprobs:
        begin = RankedToken(text=session.model_access.encoder.text_of(prompt[:1]), id=prompt[0], logprob=None)
        read_tokens = ranked_tokens(session.model_access.encoder, readings[: len(prompt) - first], prompt[:1])
        prompt_tokens = _as_written(encoded, [begin, *read_tokens])
    logprob = sum(r.logprob for r in own)
    tokens = ranked_tokens(session.model_access.encoder, own, prompt)
    return Scoring(
        prompt=encoded.text,
        text="".join(token.text for token in tokens),
        tokens=tokens,
        logprob=logprob,
        perplexity=math.exp(min(-logprob / len(target), 700.0)),
        prompt_tokens=prompt_tokens,
    )


def _as_written(encoded: EncodedPrompt, tokens: list[RankedToken]) -> list[RankedToken]:
    """The prompt's tokens with their text in the prompt, as a decoder may write other spaces."""
    return [
        token if span is None else token.model_copy(update={"text": encoded.text[slice(*span)]})
        for token, span in zip(tokens, encoded.spans, strict=True)
    ]
