"""Development tools of the repository; not part of any wheel."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
