"""Finds the tuned lens that a request names: the loader of lenses."""

from explaind_jobs.catalogue import LENSES
from explaind_worker.attachments.lookup import AttachmentLoader
from explaind_worker.lenses.checkpoint import LensFile, published, unpacked
from explaind_worker.models import demo
from explaind_worker.models.loading.meta_model import MetaModel
from explaind_worker.session.session import Session

LENS_LOADER = AttachmentLoader[LensFile](
    kind=LENSES,
    pointer="/lens",
    made_by="train/tuned-lens",
    from_bytes=unpacked,
    from_folder=published,
    builtin={"tuned": demo.LENS},
)


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
