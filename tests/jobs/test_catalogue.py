"""models.toml: what is read, and how mistakes are told."""

from pathlib import Path

import pytest

from explaind.contract.errors import UnknownModel
from explaind_jobs.catalogue import Catalogue, CatalogueError

COMMIT = "a" * 40


def load(folder: Path, text: str) -> Catalogue:
    file = folder / "models.toml"
    file.write_text(text, encoding="utf-8")
    return Catalogue.load(file)


def test_without_a_file_there_is_the_built_in_model() -> None:
    (demo,) = Catalogue.load(None).entries
    assert (demo.name, demo.builtin, demo.preload) == ("demo", True, True)
    assert (demo.limits.max_prompt_tokens, demo.limits.max_target_tokens) == (240, 64)
    assert demo.card().source == "built-in"


def test_models_from_the_hub_and_from_a_directory(tmp_path: Path) -> None:
    (tmp_path / "llama").mkdir()
    catalogue = load(
        tmp_path,
        f"""
        [models.gpt2]
        source = "openai-community/gpt2"
        revision = "{COMMIT}"
        dtype = "bfloat16"
        quantization = "nf4"
        device = "cuda:0"
        queue = "gpu"
        limits = {{max_prompt_tokens = 9}}
        [models.llama]
        path = "llama"
        """,
    )
    assert [entry.name for entry in catalogue] == ["demo", "gpt2", "llama"]
    gpt2, llama = catalogue.find("gpt2"), catalogue.find("llama")
    assert (gpt2.limits.max_prompt_tokens, gpt2.limits.max_target_tokens, gpt2.queue) == (9, 256, "gpu")
    assert llama.path == (tmp_path / "llama").resolve()
    assert llama.card("ready").source == "llama"
    assert str(tmp_path) not in llama.card().model_dump_json()


def test_a_file_may_have_its_own_demo(tmp_path: Path) -> None:
    catalogue = load(tmp_path, f'[models.demo]\nsource = "a/b"\nrevision = "{COMMIT}"')
    (demo,) = catalogue.entries
    assert not demo.builtin


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models.x", "is not TOML"),
        ("[model.x]", "[models.<name>]"),
        ("models = 1", "must be tables"),
        ("[models]\nx = 1", "model 'x' must be a table"),
        ("[models.x]", "model 'x': give either source"),
        ('[models.x]\nsource = "a/b"\npath = "."', "model 'x': give either source"),
        ('[models.x]\nsource = "a/b"', "40 hex digits"),
        ('[models.x]\nsource = "a/b"\nrevision = "main"', "40 hex digits"),
        ('[models.x]\npath = "."\nrevision = "main"', "a directory has none"),
        ('[models.x]\npath = "nowhere"', "model 'x': path: there is no directory"),
        ('[models.x]\npath = "."\nname = "y"', "model 'x': name: is not written"),
        ('[models.x]\npath = "."\nbuiltin = true', "model 'x': builtin: is not written"),
        ('[models.x]\npath = "."\ndytpe = "auto"', "model 'x': dytpe: unknown. Did you mean 'dtype'"),
        ('[models.x]\npath = "."\ndtype = "float8"', "model 'x': dtype: "),
        ('[models.x]\npath = "."\nquantization = "int3"', "model 'x': quantization: "),
        ('[models.x]\npath = "."\ndevice = "tpu"', "model 'x': device: "),
        (
            '[models.x]\npath = "."\nlimits = {max_prompt_token = 3}',
            "limits.max_prompt_token: unknown. Did you",
        ),
        ('[models.x]\npath = "."\nlimits = {max_prompt_tokens = 0}', "limits.max_prompt_tokens: "),
        ('[models."../x"]\npath = "."', "model '../x': name: "),
        ('[models."x\\n"]\npath = "."', "name: "),
    ],
)
def test_mistakes_name_file_model_and_field(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "models.toml"))
    assert said in str(caught.value)


def test_lenses_are_named_and_must_be_there(tmp_path: Path) -> None:
    written = '[models.x]\npath = "."\n[models.x.lenses]\npile = "pile"\nours = "ours.safetensors"'
    with pytest.raises(CatalogueError, match=r"'x': lenses.pile: there is no .*pile. Give the path of a tuned lens"):
        load(tmp_path, written)
    (tmp_path / "pile").write_bytes(b"")
    with pytest.raises(CatalogueError, match=r"lenses.pile: .*pile is neither a .safetensors file nor a directory"):
        load(tmp_path, written)
    (tmp_path / "pile").unlink()
    (tmp_path / "pile").mkdir()
    (tmp_path / "ours.safetensors").write_bytes(b"")
    (tmp_path / "pile" / "config.json").write_text("{}")
    with pytest.raises(CatalogueError, match=r"lenses.pile: .* has no params.pt. A tuned lens is"):
        load(tmp_path, written)
    (tmp_path / "pile" / "params.pt").write_bytes(b"")
    entry = load(tmp_path, written).find("x")
    assert entry.attachments == {
        "lenses": {
            "pile": (tmp_path / "pile").resolve(),
            "ours": (tmp_path / "ours.safetensors").resolve(),
        }
    }
    assert entry.card().attachments == {"lenses": ["pile", "ours"]}
    assert str(tmp_path) not in entry.card().model_dump_json()
    assert Catalogue.load(None).find("demo").card().attachments == {"lenses": ["tuned"]}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[models.x.lense]\na = 'a'", "lense: unknown. Did you mean 'lenses'?"),
        ("[models.x.attachments.lenses]\na = 'a'", "attachments: is not written in the file."),
        ("[models.x.lenses]\n'a b' = 'a'", "lenses.a b.[key]: String should match pattern"),
        ("[models.x.lenses]\na = 1", "lenses.a: Input is not a valid path"),
    ],
)
def test_mistakes_in_attachments_name_table_and_field(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        load(tmp_path, f'[models.x]\npath = "."\n{table}')
    assert f"'x': {said}" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        Catalogue.load(tmp_path / "models.toml")


def test_an_unknown_model_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownModel) as caught:
        Catalogue.load(None).find("dmeo")
    assert caught.value.hint == "Did you mean 'demo'?"
    assert caught.value.errors[0].pointer == "/model"
