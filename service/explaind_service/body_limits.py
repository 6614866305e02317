"""How large a body may be, by what it is sent to."""

from dataclasses import dataclass

from explaind.contract.errors import BodyTooLarge
from explaind_jobs.files.cards import dataset_too_large
from explaind_service.settings import ServiceSettings

UPLOADS = "/datasets"


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """The limits of a service: requests are small, datasets are not."""

    requests: int
    datasets: int

    @classmethod
    def of_settings(cls, settings: ServiceSettings) -> "BodyLimits":
        """The limits that these settings set."""
        return cls(settings.max_body_bytes, settings.dataset_bytes)

    def of(self, path: str) -> int:
        """Most bytes of a body sent there."""
        return self.datasets if path == UPLOADS else self.requests

    def refusal(self, path: str) -> BodyTooLarge:
        """What to say of a larger one."""
        if path == UPLOADS:
            return dataset_too_large(self.datasets)
        return BodyTooLarge(
            f"The body is larger than the {self.requests} bytes that this service takes.",
            hint="Send less text, or ask whoever runs the service to raise EXPLAIND_MAX_BODY_BYTES.",
        )
