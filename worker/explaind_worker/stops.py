"""Exceptions that end a running method: cancelled, lease lost, released, device broken."""


class Stop(Exception):
    """The running method must end now; it lets this pass."""


class Cancelled(Stop):
    """The caller cancelled the job."""


class LeaseLost(Stop):
    """Another worker owns the job, or it has ended: nothing that this one computes counts any more."""


class Released(Stop):
    """The worker is stopping: the job goes back to the queue."""
