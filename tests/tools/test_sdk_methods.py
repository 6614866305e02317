"""The generated module is what the registry says."""

from pathlib import Path

from explaind.contract.registry import all_methods
from tools import sdk_methods


def test_there_is_no_drift():
    assert sdk_methods.NAMESPACES.read_text(encoding="utf-8") == sdk_methods.rendered_namespaces()
    assert sdk_methods.main(["--check"]) == 0


def test_drift_is_found_and_mended(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(sdk_methods, "NAMESPACES", tmp_path / "namespaces.py")
    assert sdk_methods.main(["--check"]) == 1
    assert "--write" in capsys.readouterr().err
    assert sdk_methods.main(["--write"]) == 0
    assert sdk_methods.main(["--check"]) == 0


def test_every_method_has_its_call(client):
    for method in all_methods().values():
        call = getattr(getattr(client, method.verb), method.name.replace("-", "_"))
        assert call.method is method
