"""docs/operate/deployment.md names files, services and settings that exist."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from explaind_service.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate" / "deployment.md").read_text(encoding="utf-8")
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.startswith("docker compose")
]
# The words of `docker compose` that take services.
TAKES_SERVICES = {"restart": None, "exec": 1, "run": 1}
VALUED = {"-f", "--scale", "--entrypoint"}


def parted(command: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The options with a value, and the other words that are no options."""
    words = shlex.split(re.split(r"\s[|<>#]", command)[0])[2:]
    options, rest = [], []
    while words:
        word = words.pop(0)
        if word in VALUED and (not rest or len(rest) == 1):
            options.append((word, words.pop(0)))
        elif not word.startswith("-") or len(rest) > 1:
            rest.append(word)
    return options, rest


def test_there_are_commands_to_look_at() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("command", COMMANDS)
def test_files_and_services_exist(command: str) -> None:
    options, (verb, *rest) = parted(command)
    for option, value in options:
        if option == "-f":
            assert (ROOT / value).exists()
        elif option == "--scale":
            assert value.partition("=")[0] in SERVICES
    if verb in TAKES_SERVICES:
        named = rest[: TAKES_SERVICES[verb]]
        assert named
        assert set(named) <= SERVICES.keys()
    for script in re.findall(r"/deploy/(\S+)", command):
        assert (ROOT / "deploy" / script).exists()


def test_settings_exist() -> None:
    known = {f"EXPLAIND_{field.upper()}" for field in ServiceSettings.model_fields} | {"EXPLAIND_QUEUES"}
    known |= set(re.findall(r"^# (\w+)=", EXAMPLE, re.MULTILINE))
    assert set(re.findall(r"\b(?:EXPLAIND|REDIS)_[A-Z_]+[A-Z]\b", PAGE)) <= known


def test_the_image_that_tries_the_gpus_is_the_workers() -> None:
    tried = re.search(r"--gpus all (\S+) nvidia-smi", PAGE)
    assert tried is not None
    assert f"ARG BASE_IMAGE={tried[1]}\n" in (ROOT / "Dockerfile.gpu").read_text(encoding="utf-8")
