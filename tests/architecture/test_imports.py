"""Who may import what: SDK, job store and service run where no torch is installed."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "numpy")
BEYOND_THE_SDK = (
    *HEAVY,
    *(
        "click",
        "rich",
        "rich_click",
        "orjson",
        "pydantic_settings",
        "fastapi",
        "starlette",
        "uvicorn",
        "celery",
        "redis",
    ),
    *("explaind_jobs", "explaind_service", "explaind_worker"),
)

# argv: the modules to import, then those that shall seem not to be installed, each joined by commas.
IMPORT_BLOCKED = """
import importlib, sys

wanted, blocked = (names.split(",") for names in sys.argv[1:])

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
for name in blocked:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} is not blocked")
for name in wanted:
    importlib.import_module(name)
"""


def import_without(blocked: tuple[str, ...], *modules: str) -> None:
    """Imports modules in a fresh interpreter where the blocked ones are missing."""
    names = [",".join(modules), ",".join(blocked)]
    command = [sys.executable, "-W", "error", "-c", IMPORT_BLOCKED, *names]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_all_but_the_worker_runs_without_torch() -> None:
    import_without(
        HEAVY,
        "explaind",
        "explaind._sync.client",
        "explaind._async.client",
        "explaind.views.report",
        "explaind.contract.registry",
        "explaind_jobs.store.job_store",
        "explaind_jobs.store.permits",
        "explaind_jobs.catalogue",
        "explaind_jobs.local_stack.stack",
        "explaind_service.app",
        "explaind_service.cli",
        "explaind_service.openapi",
    )


def test_the_sdk_needs_only_httpx_and_pydantic() -> None:
    import_without(
        BEYOND_THE_SDK, "explaind", "explaind._sync.client", "explaind._async.client", "explaind.views.report"
    )
