"""Compacts FastAPI's OpenAPI document: equivalent, with each definition occurring once."""

from typing import Any

from explaind_service.openapi_document.components import with_shared_components
from explaind_service.openapi_document.inheritance import with_inheritance
from explaind_service.openapi_document.names import with_class_names, without_derived_titles

Document = dict[str, Any]


def compact_document(document: Document) -> Document:
    """The document with class names for schemas, `allOf` for inheritance and shared responses, parameters and headers.

    Args:
        document: from `FastAPI.openapi()`; changed in place.
    """
    return without_derived_titles(with_shared_components(with_inheritance(with_class_names(document))))
