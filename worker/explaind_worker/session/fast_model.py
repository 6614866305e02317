"""The model for `precision: "fast"`: how matrix products are accelerated here, and on which copy."""

from dataclasses import dataclass

from explaind.contract.blocks.attribution_result import ReducedPrecision
from explaind_worker.engine.batching.matmul_precision import TYPES, Way, fast_products
from explaind_worker.models.loading.loaded import AnyModel
from explaind_worker.session.session import Session


@dataclass(frozen=True)
class FastModel:
    """A model with the `way` of its products; without acceleration the reason, and the ordinary model."""

    model: AnyModel
    way: Way | None
    why_not: str | None = None

    @property
    def products(self) -> str:
        """Dtype of the matrix products; for quantized weights, the quantization."""
        return (self.model.quantization or self.model.dtype) if self.way is None else TYPES[self.way]

    def notes(self, found: ReducedPrecision) -> list[str]:
        """What a reader of the result must know: how far off it is, or that nothing was faster, and why."""
        if self.way is not None:
            return [
                f'`precision: "fast"` takes the matrix products in {self.products}: the scores of the {found.checked} '
                f"coalitions that were evaluated both ways differ by up to {found.largest_difference:.2g}. Smaller "
                "differences between values say nothing."
            ]
        return [f'`precision: "fast"` changed nothing: {self.why_not}. The products are {self.products}.']


def fast_model(session: Session, *, tokens: int, reads: int) -> FastModel:
    """The session's model with its fastest matrix products; the same for the whole job.

    If that needs a copy of its layers, the copy leaves memory for one row of `tokens` tokens.

    Raises:
        RequestTooLarge: such a row would not fit even without the copy; raised before the weights are loaded.
        ModelLoadFailed, ModelTooLarge, SelfCheckFailed, OutOfMemory: the model cannot be loaded.
    """
    return session.job.shared("fast model", lambda: _found(session, tokens, reads))


def _found(session: Session, tokens: int, reads: int) -> FastModel:
    access = session.model_access
    access.batch_limits(tokens, reads=reads)
    model = access.either_model()
    found = fast_products(model)
    if found.way == "copy":
        copy = access.narrow_copy(tokens, reads=reads)
        made = FastModel(model, None, copy) if isinstance(copy, str) else FastModel(copy, "copy")
    else:
        made = FastModel(model, found.way, found.why_not)
    access.products = None if made.way is None else made.products
    return made
