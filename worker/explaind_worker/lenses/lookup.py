"""Looks up the tuned lens that a request names: the attachment loader of lenses."""

from explaind_jobs.catalogue import LENSES
from explaind_worker.attachments.lookup import AttachmentLoader
from explaind_worker.lenses.checkpoint import LensFile, published, unpacked
from explaind_worker.models import demo

LENS_LOADER = AttachmentLoader[LensFile](
    kind=LENSES,
    pointer="/lens",
    made_by="train/tuned-lens",
    from_bytes=unpacked,
    from_folder=published,
    builtin={"tuned": demo.LENS},
)
