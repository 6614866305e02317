"""Owner check of attachments: compares the model an attachment belongs to with the model of a request.

An attachment of another model would load without error and give meaningless results, so it is refused.
"""

from dataclasses import dataclass
from typing import Any

from explaind.contract.errors import AttachmentMismatch


@dataclass(frozen=True)
class AttachmentOwner:
    """The model that an attachment belongs to: its name, the fingerprint of its files, and its shape.

    `source` and `revision` are set for hub models.
    """

    model: str
    fingerprint: str | None
    depths: int
    hidden: int
    source: str | None = None
    revision: str | None = None

    @property
    def shape(self) -> str:
        """The shape as text."""
        return f"{self.depths} layers of {self.hidden}"


@dataclass(frozen=True)
class OwnerCheck:
    """Owner check of one kind of attachment.

    Attributes:
        noun: the attachment in error messages: "lens".
        pointer: the request's field that names it.
        remedy: how to get an attachment of the request's model.
    """

    noun: str
    pointer: str
    remedy: str

    def ours(self, theirs: AttachmentOwner, model: AttachmentOwner) -> list[str]:
        """Checks an attachment made here by shape and fingerprint; returns the checks.

        Raises:
            AttachmentMismatch: it belongs to another model.
        """
        self._same_shape(theirs, model)
        if theirs.fingerprint != model.fingerprint:
            why = f"its fingerprint is {theirs.fingerprint}, and that of {model.model} is {model.fingerprint}"
            raise self.mismatch(theirs, model, why)
        return ["shape", "fingerprint"]

    def published(self, theirs: AttachmentOwner, model: AttachmentOwner) -> list[str]:
        """Checks a published attachment, which has no fingerprint, by shape, hub name and commit; returns the checks.

        Name and commit are compared if both sides have them.

        Raises:
            AttachmentMismatch: it belongs to another model.
        """
        self._same_shape(theirs, model)
        checked = ["shape"]
        if model.source is not None and theirs.source is not None:
            if _last(theirs.source) != _last(model.source):
                raise self.mismatch(theirs, model, f"{model.model} is {model.source}")
            checked.append("name")
        if model.revision is not None and _is_commit(theirs.revision):
            if theirs.revision != model.revision:
                why = f"it is of revision {theirs.revision}, and ours is {model.revision}"
                raise self.mismatch(theirs, model, why)
            checked.append("revision")
        return checked

    def mismatch(self, theirs: AttachmentOwner, model: AttachmentOwner, why: str) -> AttachmentMismatch:
        """The error that names both models."""
        return AttachmentMismatch.at(
            self.pointer,
            f"The {self.noun} was made for {theirs.model[:200]!r} and not for {model.model!r}: {why}.",
            hint=f"It is of no use to another model. {self.remedy}",
        )

    def _same_shape(self, theirs: AttachmentOwner, model: AttachmentOwner) -> None:
        if (theirs.depths, theirs.hidden) != (model.depths, model.hidden):
            raise self.mismatch(theirs, model, f"it is of {theirs.shape}, and {model.model} has {model.shape}")


def _last(source: str) -> str:
    return source.rstrip("/").rpartition("/")[2].lower()


def _is_commit(revision: Any) -> bool:
    return isinstance(revision, str) and len(revision) == 40 and set(revision) <= set("0123456789abcdef")
