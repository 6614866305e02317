"""Tuned-lens checkpoints: explaind's format and that of the tuned-lens project.

explaind's is a safetensors file of `weights` [depth, hidden, hidden] and `biases` [depth, hidden], with the owning
model in its header. The project's is a directory with a config.json and a params.pt: a linear layer for each depth.
"""

import hashlib
import json
import logging
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from explaind.contract.errors import InvalidRequest
from explaind_worker.attachments.owner import AttachmentOwner, OwnerCheck
from explaind_worker.lenses.translators import Translators

logger = logging.getLogger(__name__)

FORMAT = "explaind/tuned-lens/1"
HEADER = "explaind"
PUBLISHED_TYPE = "linear_tuned_lens"
NOT_A_LENS = (
    "Give the id of an artifact of train/tuned-lens, or a name among the model's `attachments.lenses` in GET /models."
)


LENS_OWNER = OwnerCheck(
    noun="lens", pointer="/lens", remedy="Train one with train/tuned-lens, or name one of the model's own."
)


@dataclass(frozen=True)
class LensFile:
    """A loaded lens, with the data of its model and of its training.

    `unembedding` is a hash of the first digits of the model's unembedding, if a published lens has one.
    """

    translators: Translators
    owner: AttachmentOwner
    published: bool = False
    unembedding: str | None = None
    facts: dict[str, str] = field(default_factory=dict)


def packed(translators: Translators, owner: AttachmentOwner, facts: dict[str, str]) -> bytes:
    """The file of a lens; `facts` are the data of its training."""
    told = {key: value for key, value in asdict(owner).items() if value is not None}
    tensors = {"weights": translators.weights.detach().cpu(), "biases": translators.biases.detach().cpu()}
    # Under one key: with several, safetensors' order varies, and equal lenses would give different files.
    return save(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        metadata={HEADER: json.dumps({"format": FORMAT, "training": facts, **told}, sort_keys=True)},
    )


def unpacked(data: bytes) -> LensFile:
    """The lens in a file in explaind's format.

    Raises:
        InvalidRequest: it is not such a file.
    """
    try:
        told = _header(data)
        if told.get("format") != FORMAT:
            raise InvalidRequest.at("/lens", "This file is no tuned lens of a known format.", hint=NOT_A_LENS)
        owner = AttachmentOwner(
            model=str(told["model"]),
            fingerprint=told.get("fingerprint"),
            depths=int(told["depths"]),
            hidden=int(told["hidden"]),
            source=told.get("source"),
            revision=told.get("revision"),
        )
        tensors = load(data)
        lens = Translators(tensors["weights"].float(), tensors["biases"].float())
        facts = {str(key): str(value) for key, value in told.get("training", {}).items()}
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(error) from error
    _require_shape(lens, owner)
    return LensFile(lens, owner, facts=facts)


def published(folder: Path) -> LensFile:
    """The lens of a directory as the tuned-lens project writes it: depth i is the stream as it enters block i.

    Raises:
        InvalidRequest: it is not such a directory, or has another kind of lens.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = config.get("lens_type", PUBLISHED_TYPE)
        if kind != PUBLISHED_TYPE or "num_hidden_layers" not in config:
            raise InvalidRequest.at(
                "/lens",
                f"This is no lens of the kind that can be read: its config says {str(kind)[:60]!r}.",
                hint=f"Read are lenses of the type {PUBLISHED_TYPE}, as tuned-lens writes them since its version 0.1.",
            )
        owner = AttachmentOwner(
            model=str(config["base_model_name_or_path"]),
            fingerprint=None,
            depths=int(config["num_hidden_layers"]),
            hidden=int(config["d_model"]),
            source=str(config["base_model_name_or_path"]),
            revision=config.get("base_model_revision"),
        )
        state = torch.load(folder / "params.pt", map_location="cpu", weights_only=True)
        weights = [state[f"{depth}.weight"].float() for depth in range(owner.depths)]
        none = torch.zeros(owner.hidden, dtype=torch.float32)
        biases = [state.get(f"{depth}.bias", none).float() for depth in range(owner.depths)]
        lens = Translators(torch.stack(weights), torch.stack(biases))
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, pickle.UnpicklingError) as error:
        raise _unreadable(error) from error
    _require_shape(lens, owner)
    return LensFile(lens, owner, published=True, unembedding=config.get("unembed_hash"))


def unembedding_hash(weight: torch.Tensor) -> str:
    """The tuned-lens project's fingerprint of an unembedding: a hash of numpy's short print of it, to one digit."""
    return hashlib.sha256(np.array_str(weight.detach().cpu().numpy(), precision=1).encode()).hexdigest()


def check_owner(lens: LensFile, ours: AttachmentOwner) -> list[str]:
    """Checks the lens's owner before the weights are loaded; returns what was compared.

    Raises:
        AttachmentMismatch: it belongs to another model.
    """
    return LENS_OWNER.published(lens.owner, ours) if lens.published else LENS_OWNER.ours(lens.owner, ours)


def check_unembedding(lens: LensFile, ours: AttachmentOwner, weight: torch.Tensor | None) -> bool:
    """Whether the model's unembedding was compared with that of a published lens; a weight of None cannot be.

    Raises:
        AttachmentMismatch: they differ.
    """
    if lens.unembedding is None or weight is None or not weight.is_floating_point():
        return False
    # The hash may have been computed in either dtype, whatever the weights' dtype is here.
    widths = (weight.float(), weight.half(), weight.bfloat16().float())
    if lens.unembedding not in {unembedding_hash(wide) for wide in widths}:
        raise LENS_OWNER.mismatch(lens.owner, ours, "its unembedding has other weights")
    return True


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise ValueError("the header is cut off")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return dict(json.loads(metadata.get(HEADER, "{}")))


def _require_shape(lens: Translators, owner: AttachmentOwner) -> None:
    wanted = (owner.depths, owner.hidden, owner.hidden)
    if tuple(lens.weights.shape) != wanted or tuple(lens.biases.shape) != wanted[:2]:
        raise InvalidRequest.at(
            "/lens", f"The lens says that it is of {owner.shape}, and its numbers are not.", hint=NOT_A_LENS
        )
    if not (lens.weights.isfinite().all() and lens.biases.isfinite().all()):
        raise InvalidRequest.at("/lens", "The lens holds numbers that are not finite.", hint="Train it again.")


def _unreadable(error: Exception) -> InvalidRequest:
    logger.warning("a lens could not be read: %s", error)
    return InvalidRequest.at(
        "/lens", f"The lens could not be read: it is cut off, or no lens ({type(error).__name__}).", hint=NOT_A_LENS
    )
