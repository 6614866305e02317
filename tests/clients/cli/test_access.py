"""The command line and API keys: sent from the environment, shown nowhere."""

import httpx
import pytest

from explaind.contract.errors import NotPermitted, Unauthenticated

KEY = "xp_abcdefghijkl_" + "S3cret" * 7 + "A"


@pytest.mark.parametrize("error", [Unauthenticated, NotPermitted])
@pytest.mark.parametrize("arguments", [("models",), ("jobs", "list"), ("explain", "shap", "--prompt", "a")])
def test_a_caller_who_is_kept_out_learns_what_to_do(run, script, monkeypatch, error, arguments):
    monkeypatch.setenv("EXPLAIND_API_KEY", KEY)
    problem = error("Not with this key.", hint="Set EXPLAIND_API_KEY.").problem()
    script.says(httpx.Response(problem.status, content=problem.model_dump_json()))
    ran = run(*arguments, *(("--model", "demo") if "shap" in arguments else ()))
    assert ran.exit_code == 2
    assert "Not with this key." in ran.stderr
    assert "EXPLAIND_API_KEY" in ran.stderr
    assert script.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "S3cret" not in ran.output


def test_a_key_that_is_none_is_a_sentence(run, monkeypatch):
    monkeypatch.setenv("EXPLAIND_API_KEY", f"{KEY} and more")
    ran = run("models")
    assert ran.exit_code == 2
    assert "EXPLAIND_API_KEY" in ran.stderr
    assert "S3cret" not in ran.output
