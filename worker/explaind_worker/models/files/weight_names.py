"""Checks that a checkpoint holds all weights of the model built from its config, and no others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from explaind.contract.errors import ModelLoadFailed
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.files.load_errors import NOT_SUPPORTED

HEADS = "A head of random weights would answer at random. Use a checkpoint that was trained to classify."
OTHER_MODEL = (
    "Missing weights would be random numbers. The files belong to another architecture than config.json says, or were "
    "saved from within a wrapper (peft, DDP: merge or unwrap the model, then save_pretrained)."
)
NOT_USED = (
    "The model would be used without them. Does config.json say fewer layers than there are, or another architecture?"
)


ADAPTER = "adapter_config.json"


def refuse_adapters(entry: ModelEntry, folder: Path) -> None:
    """Refuses a directory with an adapter in it, which would be silently ignored.

    Raises:
        ModelLoadFailed: it holds an adapter, beside a model's weights or alone.
    """
    if not (folder / ADAPTER).is_file():
        return
    if (folder / "config.json").is_file():
        raise ModelLoadFailed(
            f"The folder of {entry.name!r} holds an adapter beside the model's weights; adapters are not applied.",
            hint="Merge it into the weights (peft: model.merge_and_unload().save_pretrained(…)), or, to use the model "
            f"without it, move {ADAPTER} and adapter_model.safetensors elsewhere.",
            status=NOT_SUPPORTED,
        )
    raise ModelLoadFailed(
        f"The folder of {entry.name!r} holds an adapter and no model.",
        hint="Merge it into its base model (peft: model.merge_and_unload().save_pretrained(…)) and name that folder.",
        status=NOT_SUPPORTED,
    )


def refuse_other_weights(entry: ModelEntry, report: Mapping[str, Any], *, classifier: bool) -> None:
    """Refuses a model whose files lack weights or hold others; `report` is transformers' load report.

    Weights that transformers declares ignorable for a family are not in the report.

    Raises:
        ModelLoadFailed: names the first missing and the first unexpected weight.
    """
    missing, unexpected = (sorted(map(str, report.get(kind) or ())) for kind in ("missing_keys", "unexpected_keys"))
    # Many classifiers are saved with the pooler of their body, which their head does not use.
    unexpected = [name for name in unexpected if not (classifier and ".pooler." in name)]
    shapes = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report.get("mismatched_keys") or ())
    if not (missing or unexpected or shapes):
        return
    said = [
        f"{_counted(missing)} missing, the first is {missing[0]}" if missing else "",
        f"{_counted(shapes)} of another shape, the first is {shapes[0]}" if shapes else "",
        f"{_counted(unexpected)} unexpected, the first is {unexpected[0]}" if unexpected else "",
    ]
    raise ModelLoadFailed(
        f"The files of {entry.name!r} do not hold the weights of the model that its config describes: "
        f"{'; '.join(filter(None, said))}.",
        hint=NOT_USED if not missing and not shapes else HEADS if classifier and not unexpected else OTHER_MODEL,
    )


def refuse_unscaled(entry: ModelEntry, network: nn.Module) -> None:
    """Refuses a model with 8-bit matrices left, which are meaningless without their scales.

    Raises:
        ModelLoadFailed: names the first.
    """
    for name, module in network.named_modules():
        weight = getattr(module, "weight", None) if type(module) in (nn.Linear, nn.Embedding, Conv1D) else None
        if isinstance(weight, Tensor) and weight.is_floating_point() and weight.itemsize == 1:
            raise ModelLoadFailed(
                f"The files of {entry.name!r} hold weights of 8 bits without their scales; the first is {name}.weight.",
                hint="Use files with the scales (weight_scale_inv beside each weight), or the unquantized ones.",
            )


def _counted(names: list[str]) -> str:
    return "1 weight is" if len(names) == 1 else f"{len(names):,} weights are"
