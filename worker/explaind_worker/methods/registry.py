"""Registry: the worker's implementation of a method of the contract."""

import importlib
from functools import partial
from typing import Any, cast

from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.errors import InternalError
from explaind.contract.estimate import ESTIMATE
from explaind.contract.method import Method
from explaind.contract.registry import find_method
from explaind_worker.attribution.faithfulness import Implementation, with_faithfulness
from explaind_worker.notes.gather import with_notes
from explaind_worker.session.estimate import estimate_of

METHODS = "explaind_worker.methods"  # a name, not an import: methods may call this module


def implementation_of(method: Method[..., Any]) -> Implementation:
    """The `run` of `methods.VERB.NAME`, with its notes; that of an attribution can also check its faithfulness.

    Of an estimate it is a dry run of the method that is estimated.

    Raises:
        InternalError: this worker is older than the contract and has no such method.
    """
    if method.verb == ESTIMATE:
        estimated = find_method(method.name)
        return partial(estimate_of, estimated, implementation_of(estimated))
    name = f"{METHODS}.{method.module}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise InternalError(
            f"This worker has no {method.path}.", hint="Service and workers must be of one version."
        ) from error
    run = cast("Implementation", module.run)
    return with_notes(with_faithfulness(run) if issubclass(method.result, Attribution) else run)
