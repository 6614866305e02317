"""What the docs say is run: code, JSON, TOML, links."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from explaind_jobs.catalogue import Catalogue
from explaind_jobs.keys.cli import keys
from explaind_jobs.local_stack.stack import EmbeddedStack

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def fences(language: str) -> list:
    return [
        pytest.param(page, code, id=f"{page.name}-{number}")
        for page in PAGES
        for number, (found, code) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
        if found == language
    ]


@pytest.fixture
def stack(demo_stack: EmbeddedStack) -> EmbeddedStack:
    return demo_stack


@pytest.mark.parametrize("page", PAGES, ids=[p.name for p in PAGES])
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(("page", "code"), fences("json"))
def test_json_is_json(page, code):
    json.loads(code)


@pytest.mark.parametrize(("page", "code"), fences("toml"))
def test_toml_is_a_catalogue(page, code, tmp_path):
    for model in tomllib.loads(code)["models"].values():
        if "path" in model:
            (tmp_path / model["path"]).mkdir(parents=True)
    (tmp_path / "models.toml").write_text(code, encoding="utf-8")
    assert len(Catalogue.load(tmp_path / "models.toml").entries) > 1


def test_the_example_catalogue_is_valid_commented_out_and_in():
    text = (ROOT / "models.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    assert tomllib.loads(re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE))["models"].keys() == {
        "my-llama",
        "gpt2",
    }


@pytest.mark.integration
@pytest.mark.parametrize(("page", "code"), fences("python"))
def test_python_runs(stack, page, code, monkeypatch, capsys):
    monkeypatch.setenv("EXPLAIND_URL", stack.url)
    names = {"__name__": "docs"}
    exec(compile(code, str(page), "exec"), names)
    names["client"].close()
    assert capsys.readouterr().out


def commands(word: str) -> list:
    found = []
    for param in fences("sh"):
        page, code = param.values
        for command in re.sub(r"\\\n", " ", code).splitlines():
            if command.startswith(word):
                found.append(pytest.param(command, id=f"{page.name}-{len(found)}"))
    return found


@pytest.mark.integration
@pytest.mark.parametrize(("page", "code"), [f for f in fences("sh") if "curl" in f.values[1]])
def test_curl_answers(stack, page, code):
    command = code.replace("localhost:8000", stack.url.removeprefix("http://"))
    done = subprocess.run(shlex.split(command.replace("\\\n", " ")), capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout)["state"] == "succeeded"


@pytest.mark.integration
@pytest.mark.parametrize("command", commands("explaind explain"))
def test_commands_answer(stack, command):
    arguments = [*shlex.split(command)[1:], "--url", stack.url, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "explaind.cli", *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["state"] == "succeeded"


KEYS = re.compile(r"explaind keys ([a-z-]+[^\n`)#]*)")
FENCED = [code for page in PAGES for _, code in FENCE.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("arguments", sorted({found.strip() for code in FENCED for found in KEYS.findall(code)}))
def test_commands_about_keys_are_as_they_are_written(arguments):
    name, *rest = shlex.split(arguments)
    assert keys.commands[name].make_context(name, rest)
