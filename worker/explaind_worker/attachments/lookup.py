"""Looks up the attachment that a request names: an artifact by id, or a file of the catalogue by name."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from explaind.contract.errors import InvalidRequest
from explaind.contract.files import NamedArtifact
from explaind.contract.near_miss import near_miss
from explaind_jobs.catalogue import AttachmentKind
from explaind_worker.attachments.owner import AttachmentOwner
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.session.session import Session

logger = logging.getLogger(__name__)

LoadedT = TypeVar("LoadedT")


@dataclass(frozen=True)
class AttachmentLoader(Generic[LoadedT]):
    """Loader of one kind of attachment.

    Attributes:
        kind: the kind as in the catalogue.
        pointer: the request's field that names one.
        made_by: the method that trains one: "train/tuned-lens".
        from_bytes: reads a file in explaind's format; raises InvalidRequest for any other.
        from_folder: reads a directory in the original project's format; raises InvalidRequest for any other.
        builtin: files of the built-in model's attachments, by name.
    """

    kind: AttachmentKind
    pointer: str
    made_by: str
    from_bytes: Callable[[bytes], LoadedT]
    from_folder: Callable[[Path], LoadedT]
    builtin: Mapping[str, Path] = field(default_factory=dict)

    def find(self, choice: NamedArtifact | str | None, session: Session) -> tuple[str, LoadedT]:
        """The attachment, and its name or id. None chooses the model's first. Does not check the owner.

        Raises:
            UnknownArtifact: there is no such artifact.
            InvalidRequest: the model has none with that name, or it cannot be read.
        """
        if isinstance(choice, NamedArtifact):
            data = session.job.files.artifact(choice, pointer=self.pointer)
            return str(choice), self._named(str(choice), lambda: self.from_bytes(data))
        name = self._name(choice, session)
        place = self._place(name, session)
        return name, self._named(name, lambda: self._read(name, place, session))

    def _name(self, choice: str | None, session: Session) -> str:
        names, model, noun = (
            session.model_access.entry.attachment_names(self.kind),
            session.model_access.entry.name,
            self.kind.noun,
        )
        if choice is None and not names:
            raise InvalidRequest.at(
                self.pointer,
                f"{model} has no {noun} of its own.",
                hint=f"Train one with {self.made_by} and give the artifact's id, or have one named in models.toml.",
            )
        name = names[0] if choice is None else choice
        if name not in names:
            hint = near_miss(name, names) if names else f"It has none: {self.made_by} makes one."
            raise InvalidRequest.at(self.pointer, f"{model} has no {noun} called {name!r}.", hint=hint)
        return name

    def _place(self, name: str, session: Session) -> Path:
        entry = session.model_access.entry
        return self.builtin[name] if entry.builtin else entry.attachments[self.kind.table][name]

    def _read(self, name: str, place: Path, session: Session) -> LoadedT:
        model = session.model_access.entry.name
        if place.is_dir():
            return self.from_folder(place)
        try:
            data = place.read_bytes()
        except OSError as error:
            logger.warning("the %s %s of %s cannot be read: %s", self.kind.noun, name, model, error)
            raise InvalidRequest.at(
                self.pointer,
                f"The {self.kind.noun} of {model} cannot be read ({type(error).__name__}).",
                hint="The worker's log says why. Name another, or have the file put back.",
            ) from error
        return self.from_bytes(data)

    def _named(self, name: str, read: Callable[[], LoadedT]) -> LoadedT:
        """The result of `read`; an error is prefixed with the attachment's name, as a catalogue may list several."""
        try:
            return read()
        except InvalidRequest as error:
            raise type(error).at(self.pointer, f"{name}: {error.detail}", hint=error.hint) from error


def owner_of(session: Session, anatomy: Anatomy) -> AttachmentOwner:
    """The session's model in the form that attachments name their owner."""
    entry = session.model_access.entry
    return AttachmentOwner(
        model=entry.name,
        fingerprint=session.model_access.encoder.revision,
        depths=len(anatomy.blocks),
        hidden=anatomy.hidden,
        source=entry.source,
        revision=entry.revision,
    )
