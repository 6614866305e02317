"""Errors for exceptions raised while a library reads a model; without directory names of this machine."""

import errno
import re
from importlib.metadata import version

from safetensors import SafetensorError

from explaind.contract.errors import ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.library_message import told

NOT_SUPPORTED = 422  # HTTP status where another model must be chosen: worker and files are in order
UNKNOWN_TYPE = re.compile(
    r"model type [`']?([\w.-]+)|Unrecognized model|Unrecognized configuration class .*?(\w+Config)"
)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def load_failure(entry: ModelEntry, error: Exception, part: str = "files") -> ModelLoadFailed:
    """The error for an exception raised while that part of the model was read: tokenizer, config, weights."""
    detail, hint, supported = _words(entry, error, part)
    return ModelLoadFailed(detail, hint=hint, status=None if supported else NOT_SUPPORTED)


def _words(entry: ModelEntry, error: Exception, part: str) -> tuple[str, str, bool]:
    """What happened, the remedy, and whether this kind of model is supported at all."""
    said, name = told(error), repr(entry.name)
    unknown = UNKNOWN_TYPE.search(str(error))
    found = f"The {part} of {name} could not be read ({type(error).__name__}): {said}"
    hint = (
        "A value in config.json, tokenizer.json or generation_config.json may be of another type than this "
        "architecture has there, or a file damaged. The worker's log has the whole message."
    )
    supported = True
    if isinstance(error, ImportError):
        found = f"{name} needs a library that this worker has not: {said}"
        hint = (
            "Install it in the worker's environment, or take what asks for it (attn_implementation) out of "
            'config.json; quantization needs `pip install "explaind[quantization]"`.'
        )
    elif isinstance(error, SafetensorError):
        found, hint = f"A weight file of {name} is damaged: {said}", "Copy or download its *.safetensors again."
    elif isinstance(error, OSError) and error.errno is not None:
        found = f"The files of {name} could not be read: {error.strerror}."
        full = error.errno in NO_ROOM
        hint = "Free the disk of the worker." if full else "Check that the worker may read the model's folder."
    elif "trust_remote_code" in str(error):
        found, supported = f"{name} comes with code of its own, which is never run.", False
        hint = "Choose a model of an architecture that transformers has itself."
    elif unknown is not None:
        kind = unknown[1] or unknown[2] or "model_type is not given"
        found = f"{name} is of a kind ({kind}) that transformers {version('transformers')} has no language model for."
        hint = "Choose an architecture that transformers has itself; a newer one may need a newer transformers."
        supported = False
    elif isinstance(error, MemoryError):
        found, hint = f"The worker had no memory left while it read {name}.", "Quantize it, or choose a smaller one."
    return found, hint, supported
