"""A supervised child process: started, restarted with growing pauses, stopped; the end of its log is kept."""

import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 10.0
STEADY_S = 20.0
MAX_QUICK_DEATHS = 5
LAST_LINES = 15
# Exit codes of a worker that left a hung job, or a device that a job broke for its process.
LEFT_BECAUSE_OF_A_JOB = (75, 76)


class SupervisedProcess:
    """A child process of the embedded stack.

    `spawn` starts it; its output is in `log`. A child that dies after running for a while is restarted at once, one
    that keeps dying early after growing pauses, and given up after five times. A child that was killed, or brought down
    by a job, is never given up: that job will be, and the others need the child.
    """

    def __init__(self, name: str, spawn: Callable[[], subprocess.Popen[bytes]], log: Path) -> None:
        self.name = name
        self.log = log
        self._spawn = spawn
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._restart_at: float | None = None
        self._quick_deaths = 0
        self._failures = 0
        self._came_up = False

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Its process id, while there is a process."""
        return self._process.pid if self._process is not None else None

    @property
    def given_up(self) -> bool:
        """Whether it exited early, by itself, too often to be restarted."""
        return self._failures >= MAX_QUICK_DEATHS

    def start(self) -> None:
        """Start it."""
        self._started = time.monotonic()
        self._restart_at = None
        self._came_up = False
        self._process = self._spawn()
        self._came_up = True

    def tend(self) -> bool:
        """Restart it if it died and its pause is over; returns True if it was found dead just now."""
        if self.alive or self.given_up:
            return False
        now = time.monotonic()
        if self._restart_at is None:
            young = now - self._started < STEADY_S
            self._quick_deaths = self._quick_deaths + 1 if young else 0
            self._failures = self._failures + 1 if young and not self._was_brought_down() else 0
            pause = FIRST_PAUSE_S * 2 ** (self._quick_deaths - 1) if young else 0.0
            self._restart_at = now + min(pause, MAX_PAUSE_S)
            return True
        if now >= self._restart_at:
            self.start()
        return False

    def _was_brought_down(self) -> bool:
        """Whether it ended by a signal or because of a job; False if it did not even start."""
        status = self._process.returncode if self._process is not None and self._came_up else None
        return status is not None and (status < 0 or status in LEFT_BECAUSE_OF_A_JOB)

    def stop(self, patience_s: float) -> None:
        """Ask it to end, and kill it after `patience_s` seconds."""
        if self._process is None:
            return
        if self.alive:
            self._process.terminate()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The end of its log and its exit status, for error messages."""
        lines: deque[str] = deque(maxlen=LAST_LINES)
        if self.log.exists():
            with self.log.open(encoding="utf-8", errors="replace") as log:
                lines.extend(line.rstrip() for line in log)
        status = self._process.returncode if self._process is not None else None
        if status is not None:
            ended = f"the {self.name} ended (exit status {status})"
        else:
            ended = f"the {self.name} runs" if self._process is not None else f"the {self.name} did not start"
        return "\n".join([f"{ended}; the last lines of {self.log}:", *(f"  {line}" for line in lines)])
