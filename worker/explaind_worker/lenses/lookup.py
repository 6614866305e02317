"""Finds the tuned lens that a request names, and sees to it that it belongs to the request's model."""

import logging
from typing import NoReturn

from explaind.contract.errors import InvalidRequest
from explaind.contract.files import NamedArtifact
from explaind.contract.methods.explain.tuned_lens import LensChoice
from explaind.contract.near_miss import near_miss
from explaind_jobs.catalogue import BUILTIN_LENS
from explaind_worker.lenses.checkpoint import LensFile, LensOwner, published, unpacked
from explaind_worker.models import demo
from explaind_worker.models.loading.meta_model import MetaModel
from explaind_worker.models.structure.anatomy import Anatomy
from explaind_worker.session.session import Session

logger = logging.getLogger(__name__)


def causal_sketch(session: Session) -> MetaModel:
    """The session's model without its weights.

    Raises:
        WrongModelKind: it is a classifier, which has no lens.
    """
    sketch = session.pool.sketch(session.entry)
    if not isinstance(sketch, MetaModel):
        session.model()  # says so
        raise AssertionError("a classifier was taken for a causal language model")
    return sketch


def owner_of(session: Session, anatomy: Anatomy) -> LensOwner:
    """The session's model as a lens knows the model that it belongs to."""
    entry = session.entry
    return LensOwner(
        model=entry.name,
        fingerprint=session.encoder.revision,
        depths=len(anatomy.blocks),
        hidden=anatomy.hidden,
        source=entry.source,
        revision=entry.revision,
    )


def found_lens(choice: LensChoice | None, session: Session) -> tuple[str, LensFile]:
    """The lens, and what it is called; whose it is has not been checked.

    Raises:
        UnknownArtifact: there is no such artifact.
        InvalidRequest: the model has no lens of that name, or it cannot be read.
    """
    if isinstance(choice, NamedArtifact):
        return str(choice), unpacked(session.files.artifact(choice, pointer="/lens"))
    names = session.entry.lens_names
    name = choice if choice is not None else names[0] if names else _refuse_none(session)
    if name not in names:
        hint = near_miss(name, names) if names else "It has none: train/tuned-lens makes one."
        raise InvalidRequest.at("/lens", f"{session.entry.name} has no lens called {name!r}.", hint=hint)
    place = demo.LENS if session.entry.builtin and name == BUILTIN_LENS else session.entry.lenses[name]
    if place.is_dir():
        return name, published(place)
    try:
        data = place.read_bytes()
    except OSError as error:
        logger.warning("the lens %s of %s could not be read: %s", name, session.entry.name, error)
        raise InvalidRequest.at(
            "/lens", f"The lens {name!r} of {session.entry.name} cannot be read.", hint="The worker's log says why."
        ) from error
    return name, unpacked(data)


def _refuse_none(session: Session) -> NoReturn:
    raise InvalidRequest.at(
        "/lens",
        f"{session.entry.name} has no tuned lens of its own.",
        hint="Train one with train/tuned-lens and give the artifact's id, or have one named in models.toml.",
    )
