"""What a config.json says of a model, whatever is in it."""

import json
from pathlib import Path

import pytest

from explaind_jobs.catalogue import DEMO, ModelEntry
from explaind_jobs.model_config import ConfigFacts, class_names, facts_of

BERT = ["BertForSequenceClassification"]


def written(folder: Path, config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architectures": BERT, "id2label": {"1": "B", "0": "A"}}, ("classifier", ["A", "B"])),
        ({"architectures": BERT}, ("classifier", ["LABEL_0", "LABEL_1"])),
        ({"architectures": BERT, "num_labels": 3}, ("classifier", ["LABEL_0", "LABEL_1", "LABEL_2"])),
        ({"architectures": BERT, "num_labels": 1, "id2label": {"0": "A", "1": "B"}}, ("classifier", ["A", "B"])),
        ({"architectures": BERT, "num_labels": 10**12}, ("classifier", ["LABEL_0", "LABEL_1"])),
        ({"architectures": BERT, "num_labels": "many"}, ("classifier", ["LABEL_0", "LABEL_1"])),
        ({"architectures": ["LlamaForCausalLM"], "id2label": {"0": "A"}}, ("causal", None)),
        ({"architectures": None}, (None, None)),
        ({}, (None, None)),
        ([], (None, None)),
    ],
)
def test_kind_and_labels(tmp_path: Path, config: object, expected: tuple[object, object]) -> None:
    found = facts_of(written(tmp_path, config))
    assert (found.kind, found.labels, found.quantization) == (*expected, None)


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
        ({"load_in_4bit": True}, "fp4"),
        ({"load_in_8bit": True, "load_in_4bit": False}, "int8"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"bits": 4}, "an unnamed method"),
        (None, None),
        ([], None),
    ],
)
def test_cards_say_how_the_files_are_quantized(tmp_path: Path, stored: object, kind: str | None) -> None:
    entry = ModelEntry(name="m", path=written(tmp_path, {"architectures": BERT, "quantization_config": stored}))
    assert entry.card().quantization == kind
    assert entry.model_copy(update={"quantization": "nf4"}).card().quantization == "nf4"


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"max_position_embeddings": 1024}, 1024),
        ({"n_positions": 1024, "n_ctx": 512}, 1024),
        ({"text_config": {"max_position_embeddings": 8192}}, 8192),
        ({"max_position_embeddings": 2048, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, None),
        ({"max_position_embeddings": 2048, "rope_parameters": {"rope_type": "dynamic"}}, None),
        ({"max_position_embeddings": 2048, "rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, 2048),
        ({"max_position_embeddings": 514, "model_type": "xlm-roberta"}, None),
        ({"max_position_embeddings": "many"}, None),
        ({"max_position_embeddings": 0, "rope_scaling": []}, None),
        ({}, None),
    ],
)
def test_cards_say_how_much_the_model_reads(tmp_path: Path, config: object, context: int | None) -> None:
    assert ModelEntry(name="m", path=written(tmp_path, config)).card().context == context


def test_the_context_of_a_hub_model_is_known_once_it_is_in_the_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    entry = ModelEntry(name="m", source="openai-community/gpt2", revision="0" * 40)
    assert entry.card().context is None
    folder = tmp_path / "models--openai-community--gpt2" / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    written(folder, {"n_positions": 1024})
    assert entry.card().context == 1024


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert facts_of(tmp_path) == ConfigFacts()
    (tmp_path / "config.json").write_bytes(b"\xff{")
    assert facts_of(tmp_path) == ConfigFacts()


def test_a_class_without_a_name_has_its_index() -> None:
    assert class_names({0: "A", 2: "C", 5: "F"}) == ["A", "LABEL_1", "C"]


def test_cards_say_the_kind(tmp_path: Path) -> None:
    written(tmp_path, {"architectures": BERT, "id2label": {"0": "A", "1": "B"}})
    card = ModelEntry(name="m", path=tmp_path).card()
    assert (card.kind, card.labels) == ("classifier", ["A", "B"])
    assert (DEMO.card().kind, DEMO.card().labels) == ("causal", None)
    hub = ModelEntry(name="m", source="a/b", revision="a" * 40)
    assert hub.card().kind is None
    assert hub.model_copy(update={"kind": "classifier"}).card().kind == "classifier"
