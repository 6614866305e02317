"""The calls carry the keywords of the params and the type of the result."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import explaind

SNIPPET = """
from explaind import AsyncClient, Client
from explaind.contract.blocks.attribution_result import Attribution
from explaind.contract.methods.infer.generate import Generation

with Client() as client:
    a: Attribution = client.explain.shap(model="demo", prompt="x", target=" y", budget=64)
    b: Generation = client.infer.generate.submit(model="demo", prompt="x").result()
    wrong_keyword = client.explain.shap(model="demo", promt="x")
    no_model = client.explain.shap(prompt="x")
    wrong_type = client.explain.shap(model="demo", prompt="x", budget="many")

async def ask() -> Generation:
    async with AsyncClient() as client:
        return await client.infer.generate.with_options(timeout=3)(model="demo", prompt="x")
"""


# pyright fetches its own program when it runs for the first time: in CI `make check` has done so.
@pytest.mark.skipif(
    shutil.which("node") is None and "CI" not in os.environ, reason="pyright needs node, and tests fetch nothing"
)
def test_calls_are_typed(tmp_path: Path):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    root = str(Path(explaind.__file__).parents[1])
    settings = {"include": ["snippet.py"], "extraPaths": [root], "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    line = [
        sys.executable,
        "-m",
        "pyright",
        "-p",
        str(tmp_path),
        "--outputjson",
        "--pythonpath",
        sys.executable,
    ]
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    found = json.loads(ran.stdout)["generalDiagnostics"]
    wrong_lines = {each["range"]["start"]["line"] for each in found if each["severity"] == "error"}
    meant = {number for number, line in enumerate(SNIPPET.splitlines()) if "wrong_" in line or "no_model" in line}
    assert wrong_lines == meant, found
