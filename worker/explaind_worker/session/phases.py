"""Progress of a job, phase by phase: what its parts report, made one consistent count."""

from dataclasses import dataclass

from explaind.contract.job import Progress

NOTHING_COUNTED = Progress(phase="computing", done=1, total=1, unit="results")


@dataclass
class _Phase:
    """Where the count of one phase stands: in this pass, and what earlier passes of the same phase had done."""

    before: int = 0
    done: int = 0
    total: int = 0


class Phases:
    """Within a phase the count never runs backward nor beyond its total, even if the phase is passed several times.

    A pass that begins again, because a method asks its model once more, is counted on top of the passes before.
    """

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._last: Progress | None = None

    def report(self, phase: str, done: int, total: int | None, unit: str) -> Progress:
        """The progress to tell where a part of the job has done `done` of `total` `unit`."""
        known = self._phases.setdefault(phase, _Phase())
        if done < known.done:
            if total is not None and unit == "bytes":
                done = known.done  # of a download: what is there stays there
            else:
                known.before += known.done
        known.done = done
        shown = known.before + done
        if total is not None:
            known.total = max(shown, known.before + total)
        self._last = Progress(phase=phase, done=shown, total=None if total is None else known.total, unit=unit)
        return self._last

    def ended(self) -> Progress:
        """The progress of the job after its end: the last phase, complete."""
        if self._last is None:
            return NOTHING_COUNTED
        count = max(1, self._last.done, self._last.total or 0)
        return self._last.model_copy(update={"done": count, "total": count})
