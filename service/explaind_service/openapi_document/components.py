"""Moves repeated responses, parameters and headers of the document into shared components."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from dataclasses import dataclass, field
from typing import Any

from explaind_service.openapi_document.names import pascal_case

Described = dict[str, Any]
Container = MutableMapping[str, Described] | MutableSequence[Described]

_CODE = re.compile(r"\(`(\w+)`\)")
_OUTCOMES = {"200": "", "201": "Created", "202": "Accepted"}


def with_shared_components(document: dict[str, Any]) -> dict[str, Any]:
    """The document with `components/headers`, `/responses` and `/parameters`, referenced wherever they occur."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    responses = [operation["responses"] for operation in operations]
    headers = [response["headers"] for each in responses for response in each.values() if "headers" in response]
    components = document["components"]
    components["parameters"] = _share("parameters", (o["parameters"] for o in operations if "parameters" in o))
    components["headers"] = _share("headers", headers)
    components["responses"] = _share("responses", responses)
    return document


@dataclass
class _Shared:
    """The components of one kind, under unique names."""

    by_text: dict[str, str] = field(default_factory=dict)
    by_name: dict[str, Described] = field(default_factory=dict)

    def name(self, wanted: str, described: Described) -> str:
        """The name of the component with that description, added if new."""
        text = _text(described)
        if text not in self.by_text:
            taken = sum(name.rstrip("0123456789") == wanted for name in self.by_name)
            self.by_text[text] = f"{wanted}{taken + 1}" if taken else wanted
            self.by_name[self.by_text[text]] = described
        return self.by_text[text]


def _share(kind: str, containers: Any) -> dict[str, Described]:
    """Replaces parts that occur more than once with references; returns the components that they refer to."""
    places = [(container, key) for container in containers for key in _keys(container)]
    counts = Counter(_text(container[key]) for container, key in places)
    shared, name_of = _Shared(), NAMES[kind]
    for container, key in places:
        described = container[key]
        if counts[_text(described)] > 1:
            name = shared.name(name_of(key, described), described)
            container[key] = {"$ref": f"#/components/{kind}/{name}"}
    return dict(sorted(shared.by_name.items()))


def _keys(container: Container) -> Iterator[Any]:
    return iter(list(container)) if isinstance(container, MutableMapping) else iter(range(len(container)))


def _text(described: Described) -> str:
    return json.dumps(described, sort_keys=True)


def _parameter_name(_: int, parameter: Described) -> str:
    return pascal_case(parameter["name"])


def _header_name(name: str, _: Described) -> str:
    return pascal_case(name)


def _response_name(status: str, response: Described) -> str:
    """From the codes of its problems (`RateLimitedOrQueueFull`), or from its schema (`AttributionJobAccepted`)."""
    codes = [pascal_case(code) for code in _CODE.findall(response["description"])]
    if codes:
        return "Or".join(codes if len(codes) <= 2 else [codes[0], "Other"])
    content = next(iter(response.get("content", {}).values()), {})
    schema = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    if status == "default":
        return "OtherProblem"
    return f"{schema}{_OUTCOMES.get(status, '')}" if schema else f"Status{status}"


NAMES: dict[str, Callable[[Any, Described], str]] = {
    "parameters": _parameter_name,
    "headers": _header_name,
    "responses": _response_name,
}
