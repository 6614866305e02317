"""The compose files are valid, closed where they must be, and start what there is."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from explaind_jobs.settings import JobsSettings
from explaind_service.settings import ServiceSettings
from explaind_worker.runtime.supervisor import HARD_DRAIN_S, MAX_BEAT_S

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
CPU = ROOT / "docker-compose.cpu.yml"
TEXT = COMPOSE.read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
PERMITS_STOP_S = 5.0
# Read by libraries, or by the worker's command alone.
OTHERS = {"HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}
WORKER_FLAGS = {"EXPLAIND_SLOTS": "2"}


class Loader(yaml.SafeLoader):
    """YAML with compose's own tags for what an override takes away or replaces."""


Loader.add_constructor("!reset", lambda *_: None)


def load(text: str) -> dict[str, Any]:
    return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader


BOX = load(TEXT)
SERVICES: dict[str, dict[str, Any]] = BOX["services"]
WORKERS = {name: service for name, service in SERVICES.items() if name.startswith("worker-")}


def with_second_worker() -> str:
    """The compose file after the comment on the second GPU is taken away."""
    before, comment, after = TEXT.partition("  # worker-1:\n")
    block, end, rest = (comment + after).partition("\nnetworks:")
    return before + re.sub(r"^  # ?", "  ", block, flags=re.MULTILINE) + end + rest


def example() -> dict[str, str]:
    return dict(re.findall(r"^# (\w+)=(.*)$", EXAMPLE, re.MULTILINE))


def default_of(name: str) -> str:
    """What compose takes where the variable is not set."""
    defaults = {default for variable, default in VARIABLE.findall(TEXT) if variable == name}
    assert len(defaults) == 1, f"{name} has several defaults"
    return defaults.pop()


def seconds(duration: str) -> float:
    variable = VARIABLE.fullmatch(duration)
    text = variable[2] if variable else duration
    assert re.fullmatch(r"\d+s", text)
    return float(text[:-1])


@pytest.fixture(scope="session")
def schema() -> dict[str, Any]:
    text = (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text("utf-8")
    return json.loads(text)


@pytest.mark.parametrize("text", [TEXT, CPU.read_text(encoding="utf-8"), with_second_worker()])
def test_the_files_follow_the_compose_specification(schema: dict[str, Any], text: str) -> None:
    jsonschema.validate(load(text), schema)


def test_the_second_worker_is_the_first_on_the_second_gpu() -> None:
    workers = load(with_second_worker())["services"]
    assert json.dumps(workers["worker-0"]).replace("worker-0", "worker-1").replace('["0"]', '["1"]') == json.dumps(
        workers["worker-1"]
    )


def test_the_override_takes_the_gpu_away_from_every_worker() -> None:
    override = load(CPU.read_text(encoding="utf-8"))["services"]
    assert override.keys() == WORKERS.keys()
    for name, service in override.items():
        assert "deploy" in WORKERS[name]
        assert service["deploy"] is None
        assert service["build"]["args"]["TORCH_INDEX"].endswith("/cpu")
        assert service["image"] != WORKERS[name]["image"]


def test_the_example_names_every_variable_and_no_other() -> None:
    used = {name for name, _ in VARIABLE.findall(TEXT)}
    settings = {f"EXPLAIND_{field.upper()}" for field in ServiceSettings.model_fields}
    assert used <= example().keys()
    assert example().keys() - used <= settings | WORKER_FLAGS.keys() | OTHERS
    assert not VARIABLE.findall(CPU.read_text(encoding="utf-8"))
    assert not re.search(r"\$[\w{]", VARIABLE.sub("", TEXT)), "a variable that this test does not see"


def test_the_example_shows_the_defaults() -> None:
    settings = ServiceSettings(redis_url=None)
    used = {name for name, _ in VARIABLE.findall(TEXT)} - {"TORCH_INDEX"}
    for name, value in example().items():
        field = name.removeprefix("EXPLAIND_").lower()
        if name in used:
            assert value == default_of(name)
        elif name in WORKER_FLAGS:
            assert value == WORKER_FLAGS[name]
        elif name not in OTHERS | {"TORCH_INDEX"}:
            assert float(value) == float(getattr(settings, field)), name


def test_the_example_is_all_comments_and_empty_secrets() -> None:
    assert all(line.startswith("#") or not line for line in EXAMPLE.splitlines())
    assert {example()[name] for name in OTHERS} == {""}


def test_only_the_api_is_published_and_on_this_host_alone() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api"}
    assert VARIABLE.sub(r"\2", SERVICES["api"]["ports"][0]) == "127.0.0.1:8000:8000"
    assert SERVICES["api"]["environment"]["EXPLAIND_PORT"] == "8000"
    assert all("network_mode" not in service for service in SERVICES.values())


def test_redis_is_on_a_network_that_leads_nowhere() -> None:
    assert SERVICES["redis"]["networks"] == ["store"]
    assert BOX["networks"]["store"] == {"internal": True}
    assert all("store" in service["networks"] for service in SERVICES.values())


def test_nothing_opens_the_api_to_anonymous_callers() -> None:
    assert "ALLOW_ANONYMOUS" not in TEXT + CPU.read_text(encoding="utf-8") + EXAMPLE


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_and_held(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] in {"always", "unless-stopped"}
    assert not service.get("privileged")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
    assert "build" in service or re.search(r":\d+\.\d+\.\d+[a-z-]*@sha256:[0-9a-f]{64}$", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_bound_on_memory_and_processes(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+g", VARIABLE.sub(r"\2", service["mem_limit"]))
    assert 100 <= service["pids_limit"] <= 4096


def test_redis_has_room_to_rewrite_its_file() -> None:
    held, limit = default_of("REDIS_MAXMEMORY"), default_of("REDIS_MEM_LIMIT")
    assert int(limit.removesuffix("g")) >= 2 * int(held.removesuffix("gb"))


def test_the_api_gets_its_own_settings_and_nobody_elses_secrets() -> None:
    api = SERVICES["api"]
    assert "env_file" not in api
    settings = {f"EXPLAIND_{field.upper()}" for field in ServiceSettings.model_fields}
    # The worker's, the embedded server's, and what must not be set by a line in a file.
    left_out = {"EXPLAIND_MEMORY_BYTES", "EXPLAIND_REDIS_MEMORY_BYTES", "EXPLAIND_ALLOW_ANONYMOUS"}
    assert {name for name in api["environment"] if name.startswith("EXPLAIND_")} == settings - left_out
    others = {name for name in api["environment"] if not name.startswith("EXPLAIND_")}
    assert all(name.startswith(("AWS_", "OTEL_")) for name in others)
    assert others >= OTHERS - {"HF_TOKEN"}
    assert not any("HF" in name for name in api["environment"])


@pytest.mark.parametrize("name", ["redis", "api"])
def test_the_file_system_is_read_only_without_a_gpu(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["tmpfs"] == ["/tmp"]  # noqa: S108 - in the container


@pytest.mark.parametrize("name", SERVICES)
def test_the_password_is_a_file_and_nowhere_else(name: str) -> None:
    service = SERVICES[name]
    assert service["secrets"] == ["redis_password"]
    assert not any("@" in str(value) for value in service["environment"].values())
    if name != "redis":
        assert service["environment"]["EXPLAIND_REDIS_PASSWORD_FILE"] == "/run/secrets/redis_password"
        assert service["environment"]["EXPLAIND_REDIS_URL"] == "redis://redis:6379/0"


def test_what_makes_a_box_its_own_stays_out_of_git() -> None:
    secret = BOX["secrets"]["redis_password"]["file"].removeprefix("./")
    ignored = [secret, ".env", "models/my-llama/config.json"]
    done = subprocess.run(
        ["/usr/bin/env", "git", "check-ignore", *ignored], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ignored
    assert (ROOT / secret).parent.is_dir()


def test_api_and_workers_have_the_same_settings_results_and_models() -> None:
    api = SERVICES["api"]
    places = ("/data/results", "/etc/explaind/models.toml", "/etc/explaind/models")
    for service in WORKERS.values():
        own = {"EXPLAIND_HOST", "EXPLAIND_PORT", "EXPLAIND_DATA_DIR"}
        assert {k: v for k, v in service["environment"].items() if k not in own} == {
            k: v for k, v in api["environment"].items() if k not in own and v is not None
        }
        assert [file["path"] for file in service["env_file"]] == [".env"]
        for place in places:
            assert mount(service, place) == mount(api, place)
    assert mount(api, "/data/results") == "results"


def mount(service: dict[str, Any], place: str) -> str:
    found = [volume.split(":")[0] for volume in service["volumes"] if volume.split(":")[1] == place]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        source, _, rest = volume.partition(":")
        if source.startswith("./"):
            assert (ROOT / source).exists()
            assert rest.endswith(":ro")
        else:
            assert source in BOX["volumes"]


def test_a_workers_directory_is_its_own_and_outlives_its_container() -> None:
    for name, service in load(with_second_worker())["services"].items():
        if name.startswith("worker-"):
            assert service["hostname"] == name
            assert service["environment"]["EXPLAIND_DATA_DIR"] == f"/var/lib/explaind/{name}"
            assert mount(service, "/var/lib/explaind") == "workers"


def test_a_stopping_worker_has_the_time_that_its_drain_takes() -> None:
    drain_s = JobsSettings(redis_url=None).drain_grace_s
    assert float(default_of("EXPLAIND_DRAIN_GRACE_S")) == drain_s
    # The grace, handing back by force, two threads' last round trips, and the permits' publisher.
    needed = drain_s + HARD_DRAIN_S + 2 * MAX_BEAT_S + PERMITS_STOP_S
    for service in WORKERS.values():
        assert seconds(service["stop_grace_period"]) >= needed


def test_a_stopping_api_has_the_time_to_answer() -> None:
    needed = ServiceSettings(redis_url=None).drain_s + PERMITS_STOP_S
    assert seconds(SERVICES["api"]["stop_grace_period"]) >= needed


def explaind_commands() -> list[list[str]]:
    lines = [service["command"] for service in SERVICES.values()]
    lines += [service["healthcheck"]["test"][1:] for service in SERVICES.values()]
    return [line[1:] for line in lines if line[0] == "explaind"]


def test_the_commands_exist() -> None:
    commands = explaind_commands()
    assert {command[0] for command in commands} == {"api", "worker"}
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "explaind.cli", *command, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().startswith(f"Usage: explaind {command[0]} [OPTIONS]")


@pytest.fixture
def stub() -> Iterator[HTTPServer]:
    """A server that answers /healthz with the status of its class."""

    class Handler(BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(self.status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_apis_health_check_tells_well_from_ill(stub: HTTPServer) -> None:
    _, *command = SERVICES["api"]["healthcheck"]["test"]
    assert command[:2] == ["python", "-c"]

    def status(port: int) -> int:
        code = command[2].replace(":8000/", f":{port}/")
        assert code != command[2]
        return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode

    assert status(stub.server_port) == 0
    stub.RequestHandlerClass.status = 503  # type: ignore[attr-defined]
    assert status(stub.server_port) != 0
    assert status(1) != 0
