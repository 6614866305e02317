"""Generator of docs/operate/settings.md, from the settings models."""

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from explaind_jobs.settings import JobsSettings
from explaind_service.settings import ServiceSettings

HEAD = """# Settings

Every setting is an environment variable. Written by `make generate`; what the commands take as options too is in
`explaind up --help`, `explaind api --help` and `explaind worker --help`.
"""
# Read by the worker's command, not by a settings model.
WORKER = (
    ("EXPLAIND_SLOTS", "2", "Jobs that a worker runs at a time."),
    ("EXPLAIND_QUEUES", "default", "The queues that a worker serves, comma-separated."),
)


def rendered_page() -> str:
    """The page, in Markdown."""
    shared = JobsSettings.model_fields
    own = {name: field for name, field in ServiceSettings.model_fields.items() if name not in shared}
    parts = [
        HEAD,
        *_table("The service and its workers", [_row(name, field) for name, field in shared.items()]),
        *_table("The HTTP service alone", [_row(name, field) for name, field in own.items()]),
        *_table("The workers alone", WORKER),
    ]
    return "\n".join(parts)


def _table(title: str, rows: list[tuple[str, str, str]] | tuple[tuple[str, str, str], ...]) -> list[str]:
    lines = [f"| `{name}` | {f'`{default}`' if default else ''} | {what} |" for name, default, what in rows]
    return [f"## {title}", "", "| setting | default | |", "| --- | --- | --- |", *lines, ""]


def _row(name: str, field: FieldInfo) -> tuple[str, str, str]:
    default = field.get_default(call_default_factory=True, validated_data={})
    unset = default in (None, PydanticUndefined) or default in ([], {})
    return f"EXPLAIND_{name.upper()}", "" if unset else _written(default), (field.description or "").replace("|", "\\|")


def _written(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)
