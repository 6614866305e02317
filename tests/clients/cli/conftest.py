"""The command line against the scripted service."""

from collections.abc import Callable

import httpx
import pytest
from click.testing import CliRunner, Result

from explaind import Client
from explaind.cli.app import root
from explaind.cli.session import Session


@pytest.fixture
def run(script, clock, monkeypatch) -> Callable[..., Result]:
    """Runs a command line; time passes only on the fake clock."""
    monkeypatch.delenv("EXPLAIND_URL", raising=False)

    def connect(url: str | None) -> Client:
        made = Client(url or "http://explaind.test", transport=httpx.MockTransport(script))
        made.driver.sleep = clock.sleep
        made.driver.policy = type(made.driver.policy)(clock=clock, jitter=lambda: 1.0)
        return made

    def run(*arguments: str, stdin: str | None = None, charset: str = "utf-8") -> Result:
        return CliRunner(charset=charset).invoke(
            root, arguments, obj=Session(connect), input=stdin, prog_name="explaind"
        )

    return run
