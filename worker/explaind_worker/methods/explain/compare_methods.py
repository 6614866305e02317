"""explain/compare-methods: several attributions of one request, and their agreement."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from explaind.contract.blocks.attribution_result import Attribution, Replacement
from explaind.contract.errors import NonFiniteScore, OutOfMemory, Problem, RequestError, error_from
from explaind.contract.methods.explain.compare_methods import (
    Agreement,
    ComparedMethod,
    ComparedSpec,
    CompareMethodsParams,
    MethodComparison,
    comparable_methods,
    member_pointer,
)
from explaind_worker.attribution.coalition_game import CoalitionGame
from explaind_worker.engine.scoring.value_function import FloatArray
from explaind_worker.methods.registry import implementation_of
from explaind_worker.models.device_errors import out_of_memory, release_memory
from explaind_worker.session.session import Session
from explaind_worker.statistics.rank_agreement import cosine, spearman, top_overlap

logger = logging.getLogger(__name__)


def run(params: CompareMethodsParams, session: Session) -> MethodComparison:
    """Runs the methods one after the other on a shared cache of evaluations, and compares their attributions.

    Raises:
        InvalidRequest: prompt, units, target or baseline cannot be used with this model, or no method can run.
        RequestTooLarge: not even one row would fit in the memory; raised before the weights are loaded.
        ExplaindError: the error of the first method, if none succeeded.
    """
    table = _Table(params, CoalitionGame(params, session).replacement)
    session.model_access.batch_limits(len(session.job.encoded or ()))  # refuses requests that no method could evaluate
    session.model_access.either_model()  # loaded now, so that loading does not count as a method's time
    for index, (member, label) in enumerate(zip(params.members, _labels(params.members), strict=True)):
        with session.job.phase(f"{member.method} ({index + 1} of {len(params.members)})"):
            table.add(_run_member(params, index, label, session))
        if table.found:
            session.job.make_partial_result = table.comparison
    if not table.found:
        raise error_from(cast("Problem", table.rows[0].error))
    return table.comparison()


@dataclass
class _Table:
    """The rows so far, and the attributions of those that succeeded."""

    params: CompareMethodsParams
    replacement: Replacement
    rows: list[ComparedMethod] = field(default_factory=list)
    found: dict[str, Attribution] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)  # the methods that each note is of

    def add(self, ran: tuple[ComparedMethod, Attribution | None]) -> None:
        row, attribution = ran
        self.rows.append(row)
        if attribution is not None:
            self.found[row.label] = attribution
            for note in attribution.notes:
                self.notes.setdefault(note, []).append(row.label)

    def comparison(self) -> MethodComparison:
        """The result; at least one method must have succeeded."""
        first = next(iter(self.found.values()))
        values = np.array([attribution.values for attribution in self.found.values()])
        return MethodComparison(
            prompt=first.prompt,
            units=first.units,
            score=first.score,
            target=first.target,
            foil=first.foil,
            labels=first.labels,
            baseline=self.replacement,
            methods=list(self.rows),
            agreement=agreement(list(self.found), values, self.params.top_k),
            notes=[f"{', '.join(labels)}: {note}" for note, labels in self.notes.items()],
        )


def agreement(labels: list[str], values: FloatArray, top_k: int | None) -> Agreement:
    """Agreement of `values` [method, unit]; the k of the top-k overlap is at most all units, by default a fifth."""
    units = values.shape[1]
    k = min(units, top_k or -(-units // 5))
    return Agreement(
        labels=labels,
        spearman=_known(spearman(values)),
        top_overlap=_known(top_overlap(values, k)),
        cosine=_known(cosine(values)),
        top_k=k,
        top_overlap_by_chance=k / units,
    )


def _run_member(
    params: CompareMethodsParams, index: int, label: str, session: Session
) -> tuple[ComparedMethod, Attribution | None]:
    """One row, and the attribution if there is one. An error of the method becomes the row's problem."""
    member = params.members[index]
    run_method = implementation_of(comparable_methods()[member.method])
    started, meter = time.monotonic(), session.job.meter
    forwards, tokens = meter.forwards, meter.tokens_evaluated
    attribution, problem = None, None
    try:
        attribution = cast("Attribution", run_method(params.request_of(member), session))
    except (RequestError, NonFiniteScore, OutOfMemory) as error:
        problem = error.problem()
    except Exception as error:
        if not out_of_memory(error):
            raise
        problem = OutOfMemory(f"The device ran out of memory for {member.method}.").problem()
    row = ComparedMethod(
        label=label,
        method=member.method,
        params=member.params,
        seconds=time.monotonic() - started,
        forwards=meter.forwards - forwards,
        tokens_evaluated=meter.tokens_evaluated - tokens,
    )
    if attribution is not None:
        return _filled(row, attribution), attribution
    release_memory()  # outside of `except`, whose traceback references the method's tensors
    assert problem is not None  # noqa: S101 - one of the two is there
    logger.info("%s of a comparison failed: %s", member.method, problem.code)
    return row.model_copy(update={"error": _placed(problem, index, member)}), None


def _filled(row: ComparedMethod, attribution: Attribution) -> ComparedMethod:
    shared = set(ComparedMethod.model_fields) & set(Attribution.model_fields)
    return row.model_copy(update={name: getattr(attribution, name) for name in shared})


def _placed(problem: Problem, index: int, member: ComparedSpec) -> Problem:
    """The problem with its pointers relative to the comparison request."""
    errors = [e.model_copy(update={"pointer": member_pointer(e.pointer, index, member)}) for e in problem.errors]
    return problem.model_copy(update={"errors": errors})


def _labels(members: Sequence[ComparedSpec]) -> Iterator[str]:
    """The names of the methods; repeated ones are numbered."""
    seen: Counter[str] = Counter()
    for member in members:
        seen[member.method] += 1
        again = seen[member.method]
        yield member.method if again == 1 else f"{member.method} {again}"


def _known(matrix: FloatArray) -> list[list[float | None]]:
    return [[None if np.isnan(entry) else float(entry) for entry in row] for row in matrix]
