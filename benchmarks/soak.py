"""Generator of docs/operate/load.md, from the committed results of a soak."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "soak.json"
POINTS = 10

HEAD = """# Many jobs by many clients

Written by `make generate` from `benchmarks/results/soak.json`. Run it again with

```
EXPLAIND_TESTS=long EXPLAIND_SOAK_JSON=benchmarks/results/soak.json pytest -m soak tests/load/test_soak.py
```

Fifty clients at once against a whole `explaind up` with the built-in model: tokenizations and scores of short prompts.
Some look again and again, some have the answer come with the request, some cancel, some repeat themselves under an
idempotency key, some ask what is known already, some are wrong in a way the API refuses, some in one that only the
worker can. The test fails unless every accepted job ended and ended once, none was lost and none made twice, no queue,
lease or set names any of them still, and neither process grew: of memory, file descriptors and threads the median of
the last quarter of the time is held against that of the second. The little that memory still rises by is caches with a
bound being filled: pydantic's of short JSON strings, Celery's of the last thousand messages.
"""


def rendered_page() -> str:
    """The page, in Markdown."""
    figures = json.loads(RESULTS.read_text(encoding="utf-8"))
    return "\n".join([HEAD, *_summary(figures), "", *_quarters(figures), "", *_curve(figures)]) + "\n"


def _summary(figures: dict[str, Any]) -> Iterator[str]:
    machine, did, ended = figures["machine"], figures["did"], figures["ended"]
    rate = figures["jobs"] / figures["seconds"]
    yield (
        f"{machine['cores']} cores ({machine['processor']}) for clients, API, worker and server together, "
        f"Python {machine['python']}, no GPU; load {figures['load_before']} before the start."
    )
    yield ""
    yield (
        f"**{figures['jobs']:,} jobs** by {figures['clients']} clients in {figures['seconds']:g} s, "
        f"{rate:.0f} a second: {ended['succeeded']:,} succeeded ({did['was known already']:,} of them known already), "
        f"{ended['cancelled']:,} cancelled, {ended['failed']:,} failed as they should; {did['be_wrong']:,} requests "
        f"refused, {did['repeat']:,} sent three times. Found wrong: {figures['wrong']}."
    )


def _quarters(figures: dict[str, Any]) -> Iterator[str]:
    yield "| median of the second quarter → of the last | memory | file descriptors | threads |"
    yield "| --- | ---: | ---: | ---: |"
    for name, quarters in figures["quarters"].items():
        mb, fds, threads = (quarters[what] for what in ("rss_mb", "fds", "threads"))
        told = f"{mb[0]:.1f} → {mb[1]:.1f} MB | {fds[0]:g} → {fds[1]:g} | {threads[0]:g} → {threads[1]:g}"
        yield f"| {name} | {told} |"


def _curve(figures: dict[str, Any]) -> Iterator[str]:
    names, curves = list(figures["curves"]), list(figures["curves"].values())
    yield f"| seconds | {' | '.join(f'{name}, MB' for name in names)} |"
    yield f"| ---: |{' ---: |' * len(names)}"
    last = len(curves[0]) - 1
    for step in range(POINTS):
        points = [curve[round(step * last / (POINTS - 1))] for curve in curves]
        memory = " | ".join(format(point["rss_mb"], ".1f") for point in points)
        yield f"| {points[0]['seconds']:.0f} | {memory} |"
