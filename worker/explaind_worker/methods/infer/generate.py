"""infer/generate: continue a prompt."""

from collections.abc import Sequence

from explaind.contract.blocks.attribution_result import RankedToken, ScoredToken
from explaind.contract.methods.infer.generate import Finish, GenerateParams, Generation
from explaind_worker.engine.generation.generate import Generator, Reading, Sampling
from explaind_worker.models.text.tokenizer import Encoder
from explaind_worker.session.prompt_limits import check_fits, encode_prompt
from explaind_worker.session.session import Session


def run(params: GenerateParams, session: Session) -> Generation:
    """The continuation, up to the end token, a stop text or `max_new_tokens`."""
    session.model_access.require("causal")
    encoded = encode_prompt(session, params)
    check_fits(session.model_access, encoded, params.max_new_tokens, "/max_new_tokens")
    session.model_access.batch_limits(len(encoded), new_tokens=params.max_new_tokens)
    model = session.model_access.model()
    sampling = Sampling(params.temperature, params.top_p, params.top_k, params.seed)
    generator = Generator(model, encoded.token_ids, sampling, meter=session.job.meter)
    readings: list[Reading] = []
    text = ""

    def generation(finish: Finish) -> Generation:
        return Generation(
            prompt=encoded.text,
            text=text,
            tokens=ranked_tokens(session.model_access.encoder, readings, encoded.token_ids),
            logprob=sum(r.logprob for r in readings),
            finish_reason=finish,
        )

    session.job.make_partial_result = lambda: generation("cancelled")
    finish: Finish = "length"
    for done in range(params.max_new_tokens):
        session.job.report_progress("generating", done, params.max_new_tokens, "tokens")
        reading = generator.step(params.top_logprobs)
        readings.append(reading)
        if reading.token_id in model.end_ids:
            finish = "end"
            break
        text = session.model_access.encoder.text_of([r.token_id for r in readings], after=encoded.token_ids)
        if (cut := first_stop(text, params.stop)) is not None:
            text, finish = text[:cut], "stop"
            break
    session.job.report_progress("generating", len(readings), len(readings), "tokens")
    return generation(finish)


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Start of the first stop text; None if none occurs."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return min(places, default=None)


def ranked_tokens(encoder: Encoder, readings: Sequence[Reading], after: Sequence[int]) -> list[RankedToken]:
    """Readings in the result's format, with clean texts; `after` are the token ids before the first."""
    ids = [r.token_id for r in readings]
    tokens = []
    for place, (reading, text) in enumerate(zip(readings, encoder.texts_of(ids, after=after), strict=True)):
        before = [*after, *ids[:place]]
        top = [
            ScoredToken(text=encoder.text_of([token_id], after=before), id=token_id, logprob=logprob)
            for token_id, logprob in reading.top
        ]
        tokens.append(RankedToken(text=text, id=reading.token_id, logprob=reading.logprob, rank=reading.rank, top=top))
    return tokens
