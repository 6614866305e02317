"""Exceptions that end a running method: cancelled, lease lost, released, device broken."""


class Stop(Exception):
    """The running method must end now; methods must not catch it."""


class Cancelled(Stop):
    """The caller cancelled the job."""


class LeaseLost(Stop):
    """Another worker owns the job, or it has ended: the results of this attempt are discarded."""


class Released(Stop):
    """The worker is stopping: the job goes back to the queue."""
