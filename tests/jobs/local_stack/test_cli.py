"""What `explaind up` says when it cannot start, and the command lines it shows."""

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from explaind_jobs.local_stack.cli import curl_line, up


def test_the_curl_line_is_one_shell_command() -> None:
    request = {"model": "demo", "prompt": 'It\'s "good" – 好 $HOME `x`', "target": " positive"}
    words = shlex.split(curl_line("http://127.0.0.1:8000", "explain/shap", request))
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:8000/explain/shap"]
    assert json.loads(words[-1]) == request


def test_the_curl_line_takes_the_key_from_the_environment() -> None:
    line = curl_line("http://127.0.0.1:8000", "explain/shap", {}, with_key=True)
    assert '"Authorization: Bearer $EXPLAIND_API_KEY"' in line, "in double quotes, or the shell would not fill it in"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--host", "192.0.2.1"], "EXPLAIND_ALLOW_ANONYMOUS"),
        (["--models", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["--port", "70000"], "70000"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, args: list[str], said: str) -> None:
    result = CliRunner().invoke(up, ["--data-dir", str(tmp_path / "data"), *args])
    assert result.exit_code != 0
    assert said in result.output
    assert "Traceback" not in result.output


def test_wrong_settings_name_their_variable(tmp_path: Path) -> None:
    env = {"EXPLAIND_LEASE_S": "-1", "EXPLAIND_DATA_DIR": str(tmp_path)}
    result = CliRunner(env=env).invoke(up, [])
    assert result.exit_code == 1
    assert "EXPLAIND_LEASE_S" in result.output
