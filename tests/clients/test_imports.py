"""The SDK stands on httpx and pydantic alone, and importing the package costs nothing."""

import subprocess
import sys

BLOCKED = [
    "click",
    "rich",
    "rich_click",
    "redis",
    "celery",
    "fastapi",
    "starlette",
    "torch",
    "transformers",
    "numpy",
    "pandas",
]

PROGRAM = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None
import explaind, explaind._sync.client, explaind._async.client, explaind.views.drawing.heatmap, explaind.views.report
explaind.Client().close()
explaind.QueueFull
first_parties = {{"explaind"}}
allowed = first_parties | set(sys.stdlib_module_names) | {{
    "httpx", "httpcore", "h11", "h2", "hpack", "hyperframe", "socksio", "brotli", "brotlicffi", "zstandard",
    "anyio", "certifi", "idna", "sniffio", "pydantic", "pydantic_core", "annotated_types",
    "typing_extensions", "typing_inspection",
}}
tops = {{name.partition(".")[0] for name, module in sys.modules.items() if getattr(module, "__file__", None)}}
strangers = sorted(top for top in tops - allowed if not top.startswith(("_", "sitecustomize")))
assert not strangers, strangers
"""

LAZY = """
import sys, explaind
assert "httpx" not in sys.modules and "pydantic" not in sys.modules
assert "Client" in dir(explaind) and isinstance(explaind.__version__, str)
try:
    explaind.nothing
except AttributeError:
    pass
else:
    raise AssertionError
"""


def run(program: str) -> None:
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_sdk_needs_httpx_and_pydantic_only():
    run(PROGRAM)


def test_importing_the_package_loads_nothing():
    run(LAZY)
