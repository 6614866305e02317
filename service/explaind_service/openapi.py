"""The OpenAPI document as text: docs/reference/openapi.json."""

import json

from explaind_service.app import create_app
from explaind_service.settings import ServiceSettings


def render_openapi() -> str:
    """The document of a service with default settings, the same on every machine; needs no Redis."""
    # Not from the environment: the file must be the same on every machine.
    document = create_app(ServiceSettings.model_construct()).openapi()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
