"""Rows named in short, `--questions q.csv` or `--text ds_...`: a file is uploaded, its columns are found by name."""

from collections.abc import Callable
from typing import Any

from explaind._sync.client import Client
from explaind.cli.params.values import DatasetSource, JsonSchema
from explaind.contract.files import DatasetCard

_ANY_DATASET = f"ds_{'0' * 26}"


def stand_in(value: Any) -> Any:
    """The value, for a check before anything is sent; a dataset that is not there yet has an id all the same."""
    return {"dataset": _ANY_DATASET} if isinstance(value, DatasetSource) else value


def dataset_field(client: Client, source: DatasetSource, tell: Callable[[str], None]) -> dict[str, Any]:
    """The reference to a dataset, uploaded where it is a file: all its rows, and those columns that go by their names.

    Raises:
        InvalidDataset: the file cannot be read as rows.
        DatasetNotFound: there is no such dataset.
    """
    card: DatasetCard
    if source.is_file:
        card = client.datasets.upload(source.named)
        tell(f"Uploaded {source.named} as {card.id}: {card.rows:,} rows")
    else:
        card = client.datasets.get(source.named)
    return {"dataset": card.id, **_by_name(source.schema, card)}


def _by_name(schema: JsonSchema, card: DatasetCard) -> dict[str, Any]:
    """The fields of the reference that differ from their defaults."""
    found: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        default = field.get("default")
        if name == "dataset":
            continue
        if name == "limit":
            most = field.get("maximum", card.rows)
            if default is not None and card.rows > default:
                found[name] = min(card.rows, most)
        elif default is None and name in card.columns:  # a column that may be missing, such as a foil
            found[name] = name
        elif isinstance(default, str) and default not in card.columns and len(card.columns) == 1:
            found[name] = card.columns[0]
    return found
