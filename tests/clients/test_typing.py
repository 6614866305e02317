"""To a type checker, calls have the keywords of their params, take every documented form, and return results."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import explaind
from explaind.contract.registry import all_methods

ROOT = Path(__file__).parents[2]

# Lines that must be refused say so in the name that they assign.
SNIPPET = """
from explaind import Attribution, AsyncClient, Client, Generation, GeneratedTarget, LabelsTarget, Segments, SegmentsDict

with Client() as client:
    a: Attribution = client.explain.shap(model="demo", prompt="x", target=" y", budget=64)
    b: Generation = client.infer.generate.submit(model="demo", prompt="x").result()
    wrong_keyword = client.explain.shap(model="demo", promt="x")
    no_model = client.explain.shap(prompt="x")
    wrong_type = client.explain.shap(model="demo", prompt="x", budget="many")
    wrong_text = client.infer.generate(model="demo", prompt="x", stop="x")
    wrong_key = client.explain.shap(model="demo", prompt="x", target={"lables": [" a", " b"], "explain": " a"})
    wrong_method = client.explain.shpa(model="demo", prompt="x")
    wrong_estimate = client.explain.shap.estimate(model="demo", promt="x")
    wrong_position = client.explain.shap("demo", "x")
    wrong_table = client.datasets.upload(3)

    shap = client.explain.shap
    spans = [[0, 7], [8, 9]]
    chosen: SegmentsDict = {"segments": [(0, 7, "cue")]}
    shap(model="demo", prompt="x", units={"segments": [[0, 1]]})
    shap(model="demo", prompt="x", units={"segments": [[0, 1, "cue"], (2, 3)]})
    shap(model="demo", prompt="x", units={"segments": spans})
    shap(model="demo", prompt="x", units=chosen)
    shap(model="demo", prompt="x", units=Segments(segments=[(0, 1)]))
    shap(model="demo", prompt="x", target={"labels": [" 0", " 1"], "explain": " 1", "by": "first_token"})
    shap(model="demo", prompt="x", target=LabelsTarget(labels=[" 0", " 1"], explain=" 1"))
    shap(model="demo", prompt="x", target={"generate": {"max_new_tokens": 20}, "span": [0, 4]})
    shap(model="demo", prompt="x", target={"generate": {}})
    shap(model="demo", prompt="x", target={"token_ids": [417]}, foil={"text": "It is off", "span_text": "off"})
    shap(model="demo", prompt="x", target={"class": "POSITIVE"}, foil={"class": 0})
    shap(model="demo", prompt="x", baseline={"text": "something"}, faithfulness={"random_orders": 4})
    shap(model="demo", messages=[{"role": "user", "content": "x"}], budget="auto", webhook={"url": "https://a.test"})
    shap(model="demo", prompt="x", webhook="https://a.test", metadata={"a": "b"})
    client.explain.saliency(model="demo", prompt="x", units={"segments": spans})
    client.explain.compare_methods(model="demo", prompt="x", methods=["lime", {"method": "shap"}])
    client.explain.head_ablation(model="demo", heads=[[0, 5], (1, 2)], sets=[[(0, 1), (0, 2)]], first_pass={"top_k": 3})
    client.explain.head_ablation(model="demo", questions={"questions": [{"question": "1 +", "answer": "2"}]})
    client.explain.logit_lens(model="demo", prompt="x", track=[" Mary", 7], layers=(0, -1))
    client.evaluate.questions(model="demo", questions={"dataset": "ds_0", "question": "q", "limit": 5}, stop=["x"])
    client.train.tuned_lens(model="demo", text={"dataset": "ds_0", "column": "text"})
    chat = [{"role": "user", "content": "x"}]
    asked = [{"question": "1 +", "answer": "2"}]
    client.infer.generate(model="demo", messages=chat)
    client.evaluate.questions(model="demo", questions={"questions": asked})
    client.datasets.upload("questions.csv")
    client.datasets.upload([{"question": "3 + 4 =", "answer": 7}])
    client.datasets.upload({"a": each} for each in range(3))
    client.submit("explain/shap", {"model": "demo", "prompt": "x"})

async def ask() -> Generation:
    async with AsyncClient() as client:
        await client.explain.shap(model="demo", prompt="x", target={"generate": {"max_new_tokens": 2}})
        return await client.infer.generate.with_options(timeout=3)(model="demo", prompt="x")
"""
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def documented() -> dict[str, str]:
    """The examples of every method as calls, and the Python of every page of the docs, by file name."""
    calls = [
        f"client.{method.path.replace('/', '.').replace('-', '_')}("
        + ", ".join(f"{key}={value!r}" for key, value in method.example.items())
        + ")"
        for method in all_methods().values()
    ]
    found = {"examples.py": "\n".join(["from explaind import Client", "client = Client()", *calls])}
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for number, code in enumerate(FENCE.findall(page.read_text(encoding="utf-8"))):
            found[f"{page.stem.replace('-', '_')}_{number}.py"] = code
    return found


# pyright fetches its own program when it runs for the first time: in CI `make check` has done so.
@pytest.mark.skipif(
    shutil.which("node") is None and "CI" not in os.environ, reason="pyright needs node, and tests fetch nothing"
)
def test_calls_are_typed(tmp_path: Path):
    sources = {"snippet.py": SNIPPET, **documented()}
    for name, source in sources.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    root = str(Path(explaind.__file__).parents[1])
    settings = {"include": list(sources), "extraPaths": [root], "pythonVersion": "3.11"}
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
    found = [each for each in json.loads(ran.stdout)["generalDiagnostics"] if each["severity"] == "error"]
    wrong = {(Path(each["file"]).name, each["range"]["start"]["line"]) for each in found}
    lines = SNIPPET.splitlines()
    meant = {("snippet.py", n) for n, line in enumerate(lines) if re.match(r"\s+(wrong_\w+|no_model) =", line)}
    assert wrong == meant, found
