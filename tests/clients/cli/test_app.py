"""The root: its commands, those of other parts, and what it does with mistakes."""

from importlib.metadata import EntryPoint

import click
import pytest

from explaind.cli import plugins
from explaind.cli.session import messages, show_error
from explaind.contract.errors import FieldError, InvalidRequest


@pytest.fixture
def entries(monkeypatch):
    """Puts these entry points in the place of the installed ones."""

    def put(*values: str) -> None:
        made = [EntryPoint(*value.split("="), plugins.GROUP) for value in values]
        monkeypatch.setattr(plugins, "entry_points", lambda group: made)

    return put


def test_help_lists_everything(run, entries):
    entries("up=explaind.cli.catalogue:models")
    ran = run("--help")
    assert ran.exit_code == 0
    for name in ("up", "explain", "infer", "jobs", "models", "methods"):
        assert f" {name} " in ran.stdout


def test_a_part_is_loaded_when_it_is_used_only(run, entries, script, monkeypatch):
    loaded = []
    monkeypatch.setattr(EntryPoint, "load", lambda entry: loaded.append(entry.name) or click.Command(entry.name))
    entries("up=a:b", "worker=c:d")
    assert run("jobs", "--help").exit_code == 0
    assert loaded == []
    assert run("up").exit_code == 0
    assert loaded == ["up"]


def test_a_part_that_is_not_installed_says_how_to_get_it(run, entries):
    entries("up=explaind_nowhere.commands:up")
    ran = run("up", "--port", "80")
    assert ran.exit_code == 1
    assert 'pip install "explaind[all]"' in ran.stderr
    assert "explaind_nowhere" in ran.stderr
    assert 'pip install "explaind[all]"' in run("--help").stdout


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["explian", "shap"], "explaind has no command 'explian'. Did you mean 'explain'?"),
        (["explain", "shpa"], "explaind explain has no command 'shpa'. Did you mean 'shap'?"),
        (["shap"], "Did you mean 'explain shap'?"),
        (["explain/shap"], "Did you mean 'explain shap'?"),
        (["jobs", "lst"], "Did you mean 'list'?"),
        (["datasets", "uplaod"], "Did you mean 'upload'?"),
        (["keys", "creat"], "Did you mean 'create'?"),
        (["explain", "shap", "--promt", "x"], "There is no option '--promt'. Did you mean '--prompt' or '--priority'"),
        (["jobs", "list", "--modl", "x"], "Did you mean '--model'"),
        (["up", "--prot", "1"], "Did you mean '--port'"),
        (["jobs", "list", "--zzzzzz"], "There is no option '--zzzzzz'.\n"),
    ],
)
def test_an_unknown_name_has_near_misses_at_every_level(run, typed, meant):
    ran = run(*typed)
    assert ran.exit_code == 2
    assert meant in ran.stderr
    assert ran.stdout == ""


def test_version(run):
    ran = run("--version")
    assert ran.exit_code == 0
    assert ran.stdout.startswith("explaind, version ")


def test_an_error_steers_no_terminal(capsys):
    field = FieldError(pointer="/prompt", detail="b\x1b[2J")
    show_error(messages(), InvalidRequest("a\x1b[31m", hint="c\x1b]0;", errors=[field]))
    said = capsys.readouterr().err
    assert all(letter in said for letter in "abc")
    assert "\x1b" not in said
