"""Body size limits by path."""

from dataclasses import dataclass

from explaind.contract.errors import BodyTooLarge
from explaind_jobs.files.cards import dataset_too_large
from explaind_service.settings import ServiceSettings

UPLOADS = "/datasets"


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Body size limits of a service: small for requests, large for datasets."""

    requests: int
    datasets: int

    @classmethod
    def of_settings(cls, settings: ServiceSettings) -> "BodyLimits":
        """The limits in these settings."""
        return cls(settings.max_body_bytes, settings.dataset_bytes)

    def of(self, path: str) -> int:
        """Maximum body size in bytes at that path."""
        return self.datasets if path == UPLOADS else self.requests

    def refusal(self, path: str) -> BodyTooLarge:
        """The error for a larger body."""
        if path == UPLOADS:
            return dataset_too_large(self.datasets)
        return BodyTooLarge(
            f"The body is larger than the {self.requests} bytes that this service takes.",
            hint="Send less text, or ask whoever runs the service to raise EXPLAIND_MAX_BODY_BYTES.",
        )
