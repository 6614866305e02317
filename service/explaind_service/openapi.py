"""The OpenAPI document as a file: `python -m explaind_service.openapi --write FILE`, or `--check FILE`."""

import json

from explaind_service.app import create_app
from explaind_service.settings import ServiceSettings
from tools.drift import page_command


def render_openapi() -> str:
    """The document of a service with default settings, the same on every machine; needs no Redis."""
    # Not from the environment: the file must not depend on who writes it.
    document = create_app(ServiceSettings.model_construct()).openapi()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


main = page_command(render_openapi, "Render the OpenAPI document to a file, to standard output, or against a file.")

if __name__ == "__main__":
    main()
