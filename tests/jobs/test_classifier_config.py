"""What a config.json says of a model's kind, whatever is in it."""

import json
from pathlib import Path

import pytest

from explaind_jobs.catalogue import DEMO, ModelEntry
from explaind_jobs.classifier_config import class_names, kind_and_labels

BERT = ["BertForSequenceClassification"]


def written(folder: Path, config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architectures": BERT, "id2label": {"1": "B", "0": "A"}}, ("classifier", ["A", "B"])),
        ({"architectures": BERT}, ("classifier", ["LABEL_0", "LABEL_1"])),
        ({"architectures": ["LlamaForCausalLM"], "id2label": {"0": "A"}}, ("causal", None)),
        ({"architectures": None}, (None, None)),
        ({}, (None, None)),
        ([], (None, None)),
    ],
)
def test_kind_and_labels(tmp_path: Path, config: object, expected: object) -> None:
    assert kind_and_labels(written(tmp_path, config)) == expected


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert kind_and_labels(tmp_path) == (None, None)
    (tmp_path / "config.json").write_bytes(b"\xff{")
    assert kind_and_labels(tmp_path) == (None, None)


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
