"""What texts on the command line stand for: every field of every method, lists in both forms, rows in short."""

import json
from functools import cache
from pathlib import Path

import click
import pytest

from explaind.cli.methods import method_command
from explaind.cli.params.options import given_fields
from explaind.cli.params.values import DatasetSource, ListValue
from explaind.contract.registry import all_methods, find_method


@cache
def command(path: str) -> tuple[click.Command, dict]:
    """The command of a method, and the schema of its params."""
    method = find_method(path)
    return method_command(method), method.params_model.model_json_schema()


def given(path: str, *arguments: str) -> dict:
    """The request of a command line."""
    made, schema = command(path)
    return given_fields(schema, made.make_context("x", list(arguments)).params)


def lists() -> list[tuple[str, str]]:
    """Every list parameter, of one of the methods that have it in that form."""
    found = {}
    for path in all_methods():
        for option in command(path)[0].params:
            if isinstance(option.type, ListValue):
                found[option.opts[0], str(option.type.items.shapes)] = (path, option.opts[0])
    return list(found.values())


# Entries by the end of an option's name; each list of a method takes one of these forms.
ENTRIES = {
    "--heads": [[0, 1], [2, 3]],
    "--sets": [[[0, 1], [2, 3]], [[4, 5]]],
    "--layers": [0, 3],
    "--positions": [0, 3],
    "--queries": [0, 3],
    "--messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    "--corrupted-messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    "--methods": ["shap", {"method": "lime"}],
    "--grids": ["z", "mlp_out"],
    "--streams": ["resid_mid", "mlp_out"],
    "--components": ["mlp", "block"],
}


@pytest.mark.parametrize(("path", "option"), lists())
def test_a_list_is_an_array_or_a_repeated_option(path: str, option: str) -> None:
    entries = ENTRIES.get(option, [" a, b", "[c"])
    name = option[2:].replace("-", "_")
    assert given(path, option, json.dumps(entries))[name] == entries
    written = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    assert given(path, *(word for entry in written for word in (option, entry)))[name] == entries
    assert given(path, option, "[]")[name] == []
    made = command(path)[0]
    parameter = next(each for each in made.params if option in each.opts)
    assert isinstance(parameter, click.Option)
    assert "Repeat the option, or give a JSON array." in (parameter.help or "")
    assert parameter.make_metavar(click.Context(made)).endswith("...")


@pytest.mark.parametrize(
    ("path", "arguments", "expected"),
    [
        ("explain/shap", ("--budget", "auto"), {"budget": "auto"}),
        ("explain/shap", ("--budget", "64"), {"budget": 64}),
        ("explain/shap", ("--faithfulness",), {"faithfulness": True}),
        ("explain/shap", ("--faithfulness", "--seed", "1"), {"faithfulness": True, "seed": 1}),
        ("explain/shap", ("--faithfulness", '{"random_orders": 5}'), {"faithfulness": {"random_orders": 5}}),
        ("explain/shap", ("--tolerance", "1e-3", "--no-interactions"), {"tolerance": 0.001, "interactions": False}),
        ("explain/shap", ("--metadata", "a=b=c", "--metadata", "d="), {"metadata": {"a": "b=c", "d": ""}}),
        ("explain/logit-lens", ("--track", "7", "--track", "[417]"), {"track": ["7", 417]}),
        ("evaluate/questions", ("--questions", "logic"), {"questions": "logic"}),
        ("evaluate/questions", ("--questions", '{"dataset": "ds_1"}'), {"questions": {"dataset": "ds_1"}}),
        ("train/tuned-lens", ("--text", '{"dataset": "ds_1"}'), {"text": {"dataset": "ds_1"}}),
        ("train/tuned-lens", ("--text", '["a.csv"]'), {"text": ["a.csv"]}),
    ],
)
def test_values(path: str, arguments: tuple[str, ...], expected: dict) -> None:
    assert given(path, *arguments) == expected


@pytest.mark.parametrize(
    ("path", "arguments", "said"),
    [
        ("explain/shap", ("--budget", "lots"), "'lots' is neither 'auto' nor a whole number."),
        ("explain/shap", ("--units", "words"), "Did you mean 'word'"),
        ("explain/shap", ("--tolerance", "low"), "'low' is not a number."),
        ("explain/shap", ("--faithfulness", "yes"), "'yes' is neither true or false nor JSON."),
        ("explain/attention", ("--layers", "1,2"), "'1,2' is not a whole number."),
        ("explain/attention", ("--heads", "[1, 2"), "is not JSON"),
        ("explain/logit-lens", ("--streams", "resid_pots"), "Did you mean 'resid_post'"),
        ("evaluate/questions", ("--questions", "arithmetics"), "Did you mean 'arithmetic'"),
        ("evaluate/questions", ("--questions", "none.csv"), "There is no file 'none.csv'."),
        ("evaluate/questions", ("--questions", "x/none.jsonl"), "There is no file 'x/none.jsonl'."),
        ("train/tuned-lens", ("--text", "none.csv"), "There is no file 'none.csv'."),
        ("train/tuned-lens", ("--text", "ds_1", "--text", "a"), "Give it once"),
        ("explain/shap", ("--prompt", "@none.txt"), "cannot be read: No such file or directory"),
    ],
)
def test_a_value_that_does_not_fit_says_what_would(path: str, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(click.BadParameter, match=r"(?s).*") as caught:
        given(path, *arguments)
    assert said in caught.value.format_message()
    assert arguments[0] in caught.value.format_message()


@pytest.mark.parametrize(("path", "option"), [("evaluate/questions", "questions"), ("train/tuned-lens", "text")])
def test_rows_in_short(path: str, option: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a\n1\n")
    for named, is_file in ((str(file), True), (f"ds_{'7' * 26}", False)):
        source = given(path, f"--{option}", named)[option]
        assert isinstance(source, DatasetSource)
        assert (source.named, source.is_file) == (named, is_file)


@pytest.mark.parametrize(
    ("path", "option", "begun", "offered"),
    [
        ("explain/shap", "score", "", ["logprob", "prob", "logit"]),
        ("explain/shap", "budget", "a", ["auto"]),
        ("explain/logit-lens", "streams", "resid_p", ["resid_pre", "resid_post"]),
        ("evaluate/questions", "questions", "q", [("q", "file")]),
        ("evaluate/questions", "questions", "mu", ["multistep", ("mu", "file")]),
    ],
)
def test_a_shell_offers_the_choices(path: str, option: str, begun: str, offered: list) -> None:
    made = command(path)[0]
    parameter = next(each for each in made.params if each.name == option)
    found = parameter.type.shell_complete(click.Context(made), parameter, begun)
    assert [item.value if item.type == "plain" else (item.value, item.type) for item in found] == offered
