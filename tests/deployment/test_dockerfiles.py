"""The images: what goes in is there, what runs is nobody's root, and the API's has no PyTorch."""

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "Dockerfile.gpu"
API = ROOT / "service" / "Dockerfile"
BOTH = pytest.mark.parametrize("path", [WORKER, API], ids=["worker", "api"])
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = {"torch", "transformers", "tokenizers", "accelerate", "bitsandbytes", "numpy"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each with its argument on one line."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in found]


def of(path: Path, word: str) -> list[str]:
    return [rest for found, rest in instructions(path) if found == word]


def last_stage(path: Path) -> list[tuple[str, str]]:
    steps = instructions(path)
    begin = max(number for number, (word, _) in enumerate(steps) if word == "FROM")
    return steps[begin:]


@pytest.mark.parametrize("path", [WORKER, API, ROOT / "docker-compose.cpu.yml"], ids=["worker", "api", "cpu"])
def test_images_are_named_by_digest(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    (image,) = re.findall(r"BASE_IMAGE(?:=|: )(\S+)", text)
    assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) <= {"${BASE_IMAGE}"}


def copied(path: Path) -> list[str]:
    """What is copied from the checkout."""
    return [part for rest in of(path, "COPY") if not rest.startswith("--from=") for part in rest.split()[:-1]]


@BOTH
def test_what_is_copied_exists_and_reaches_the_build(path: Path) -> None:
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    for source in copied(path):
        assert (ROOT / source).exists()
        assert source in allowed
    everything = {found for file in (WORKER, API) for found in copied(file)}
    assert set(allowed) == everything, "more reaches the builds than they copy"


@BOTH
def test_every_package_of_the_wheel_is_copied(path: Path) -> None:
    for package in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert any(package.startswith(f"{source}/") for source in copied(path)), package
    for needed in (PYPROJECT["project"]["readme"], *PYPROJECT["project"]["license-files"]):
        assert needed in copied(path)


def test_no_secret_reaches_a_build() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    for private in (".env", "secrets/redis_password", "models/my-llama", ".git/config", "explaind-data/redis"):
        parents = [private, *map(str, Path(private).parents)]
        assert not any(fnmatch(name, rule[1:]) for rule in rules if rule.startswith("!") for name in parents)


@BOTH
def test_the_base_is_pinned(path: Path) -> None:
    given = dict(rest.partition("=")[::2] for rest in of(path, "ARG"))
    for rest in of(path, "FROM"):
        image = re.sub(r"\$\{(\w+)\}", lambda found: given[found[1]], rest.split()[0])
        assert re.search(r":\d+\.\d+\.\d+-", image), f"{image} may become another one"


def test_the_workers_base_is_the_cuda_that_pytorch_was_built_for() -> None:
    assert "ARG BASE_IMAGE=nvidia/cuda:13.0." in WORKER.read_text(encoding="utf-8")
    assert re.search(r"^torch==2\.13\.", CONSTRAINTS, re.MULTILINE), "which CUDA do the wheels of this PyTorch bring?"
    assert "-runtime-ubuntu24.04" in WORKER.read_text(encoding="utf-8")


@BOTH
def test_it_runs_as_nobody_in_particular(path: Path) -> None:
    users = [rest for word, rest in last_stage(path) if word == "USER"]
    assert users == ["10001:10001"]
    order = [word for word, _ in last_stage(path)]
    assert "RUN" not in order[order.index("USER") :]
    made = [rest for word, rest in last_stage(path) if word == "RUN" and "useradd --uid 10001 " in rest]
    assert len(made) == 1


def test_both_images_have_the_same_user_who_owns_what_they_share() -> None:
    for path in (WORKER, API):
        made = next(rest for word, rest in last_stage(path) if "install -d -o explaind" in rest)
        assert {"/data/results", "/var/lib/explaind"} <= set(made.split())
    shared = next(rest for _, rest in last_stage(WORKER) if "install -d" in rest)
    home = re.search(r"HF_HOME=(\S+)", WORKER.read_text(encoding="utf-8"))
    assert home is not None
    assert home[1] in shared.split()
    volumes = json.loads(of(WORKER, "VOLUME")[0])
    assert any(home[1].startswith(f"{volume}/") for volume in volumes)


@BOTH
def test_a_signal_reaches_the_process(path: Path) -> None:
    assert json.loads(of(path, "ENTRYPOINT")[0]) == ["/usr/bin/tini", "--"]
    assert any(" tini " in f"{rest} " for word, rest in last_stage(path) if word == "RUN")


@BOTH
def test_its_command_starts_here(path: Path) -> None:
    program, *arguments = json.loads(of(path, "CMD")[0])
    assert program == "explaind"
    done = subprocess.run(
        [sys.executable, "-m", "explaind.cli", *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("path", "service"), [(WORKER, "worker-0"), (API, "api")], ids=["worker", "api"])
def test_the_image_and_the_compose_file_agree(path: Path, service: str) -> None:
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"][service]
    options, _, check = of(path, "HEALTHCHECK")[0].partition(" CMD ")
    assert json.loads(check) == composed["healthcheck"]["test"][1:]
    given = dict(option.removeprefix("--").split("=") for option in options.split())
    assert {name.replace("-", "_"): value for name, value in given.items()} == {
        name: str(value) for name, value in composed["healthcheck"].items() if name != "test"
    }
    assert json.loads(of(path, "CMD")[0]) == composed["command"]
    assert (ROOT / composed["build"]["dockerfile"]) == path
    arguments = {rest.partition("=")[0] for rest in of(path, "ARG")}
    assert composed["build"].get("args", {}).keys() <= arguments


def installs(path: Path) -> list[str]:
    return [rest for rest in of(path, "RUN") if "pip install" in rest]


@BOTH
def test_every_install_is_held_by_the_constraints(path: Path) -> None:
    assert installs(path)
    for command in installs(path):
        assert "pip install -c constraints.txt " in command
        assert "==" not in command, "a version of its own"


def test_the_worker_has_pytorch_and_its_extras() -> None:
    first, second = installs(WORKER)
    assert first.endswith(" torch")
    assert second.endswith('".[worker,quantization,s3,telemetry]"')


def test_the_api_has_no_pytorch() -> None:
    (only,) = installs(API)
    assert only.endswith('".[service,s3,telemetry]"')
    extras = PYPROJECT["project"]["optional-dependencies"]
    named = {re.split(r"[^\w-]", line)[0] for extra in ("service", "s3", "telemetry") for line in extras[extra]}
    assert "fastapi" in named
    assert not named & HEAVY
