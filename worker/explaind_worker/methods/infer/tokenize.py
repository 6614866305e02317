"""infer/tokenize: tokens and units of a prompt; no weights are needed."""

from explaind.contract.methods.infer.tokenize import Token, Tokenization, TokenizeParams
from explaind_worker.engine.scoring.units import units_of
from explaind_worker.session.prompt_limits import encode_prompt
from explaind_worker.session.session import Session


def run(params: TokenizeParams, session: Session) -> Tokenization:
    """Every token with id, text and characters, and the units of an attribution; none for whitespace alone."""
    encoded = encode_prompt(session, params)
    unit_map = units_of(encoded, params.units, needed=False)
    encoder = session.model_access.encoder
    tokens = []
    for index, (token_id, span) in enumerate(zip(encoded.token_ids, encoded.spans, strict=True)):
        start, end = span or (None, None)
        tokens.append(
            Token(
                id=token_id,
                text=encoder.text_of([token_id]) if span is None else encoded.text[slice(*span)],
                start=start,
                end=end,
                special=encoded.special[index],
                unit=unit_map.unit_of_token[index],
                template=encoded.is_template(index),
            )
        )
    session.job.report_progress("tokenizing", 1, 1, "texts")
    return Tokenization(prompt=encoded.text, tokens=tokens, units=list(unit_map.units), count=len(encoded))
