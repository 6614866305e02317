"""Checks before a job is stored: limits that need neither the model nor its tokenizer."""

from collections.abc import Iterator

from explaind.contract.blocks.subject import GeneratedTarget, TokenIdsTarget
from explaind.contract.blocks.units import Segments
from explaind.contract.catalogue import ModelLimits
from explaind.contract.errors import TargetTooLong, TooManyUnits
from explaind.contract.methods.explain.shap import MAX_EXACT_UNITS
from explaind.contract.request import ModelRequest
from explaind_jobs.catalogue import ModelEntry


def check_limits(params: ModelRequest, entry: ModelEntry) -> None:
    """Checks a request against the limits of its model.

    Raises:
        TargetTooLong: the target, the foil or the generation is longer than the model allows.
        TooManyUnits: the exact algorithm is requested for more segments than it can do.
    """
    for pointer, tokens in _continuation_lengths(params):
        _check_length(pointer, tokens, entry.name, entry.limits)
    _check_exact_segments(params)


def _continuation_lengths(params: ModelRequest) -> Iterator[tuple[str, int]]:
    # By field, not by method: a method that gains a target or a generation is checked, too.
    for field in ("target", "foil"):
        match getattr(params, field, None):
            case TokenIdsTarget(token_ids=ids):
                yield f"/{field}/token_ids", len(ids)
            case GeneratedTarget(generate=options):
                yield f"/{field}/generate/max_new_tokens", options.max_new_tokens
    max_new_tokens = getattr(params, "max_new_tokens", None)
    if isinstance(max_new_tokens, int):
        yield "/max_new_tokens", max_new_tokens


def _check_length(pointer: str, tokens: int, model: str, limits: ModelLimits) -> None:
    if tokens > limits.max_target_tokens:
        raise TargetTooLong.at(
            pointer,
            f"{tokens} tokens are more than the {limits.max_target_tokens} that the model '{model}' allows.",
            hint=f"Ask for at most {limits.max_target_tokens}; GET /models/{model} shows the model's limits.",
        )


def _check_exact_segments(params: ModelRequest) -> None:
    units = getattr(params, "units", None)
    exact = getattr(params, "algorithm", None) == "exact"
    if exact and isinstance(units, Segments) and len(units.segments) > MAX_EXACT_UNITS:
        raise TooManyUnits.at(
            "/units/segments",
            f"The exact algorithm does up to {MAX_EXACT_UNITS} units, not {len(units.segments)}.",
            hint="Use the algorithm 'auto', 'kernel' or 'permutation', or fewer segments.",
        )
