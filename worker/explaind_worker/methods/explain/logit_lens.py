"""explain/logit-lens: every sublayer decoded through the model's own final norm and unembedding."""

from explaind.contract.methods.explain.logit_lens import LogitLens, LogitLensParams
from explaind_worker.lenses.query import lens_question
from explaind_worker.lenses.readout import read_lens
from explaind_worker.session.session import Session


def run(params: LogitLensParams, session: Session) -> LogitLens:
    """The logit lens at each layer and position (nostalgebraist 2020)."""
    question = lens_question(params, params.streams, session)
    return LogitLens.model_validate(read_lens(question, params.top, session))
