"""Measures the demo model on held-out cases: accuracy of its answers and truth of its attributions."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from explaind_worker.models.demo import MODEL_DIR
from explaind_worker.models.demo.cases import TASKS, Case, generate_cases
from explaind_worker.models.demo.tokenizer import EOS, PAD, token_id
from explaind_worker.models.demo.truth import attribution_truth

logger = logging.getLogger(__name__)

EVALUATION_SEED = 1234
ACCURACY_CASES = 1000
TRUTH_CASES = 100


def accuracy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cases: Sequence[Case]) -> float:
    """Share of `cases` where greedy decoding gives the whole answer and then the end token."""
    texts = [case.prompt + case.answer for case in cases]
    rows = [[*ids, token_id(tokenizer, EOS)] for ids in tokenizer(texts)["input_ids"]]
    starts = [len(ids) for ids in tokenizer([case.prompt for case in cases])["input_ids"]]
    pad = token_id(tokenizer, PAD)
    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (length - len(row))] for row in rows])
    with torch.inference_mode():
        best = model(input_ids=ids, use_cache=False).logits.argmax(-1)
    # Greedy decoding gives the answer exactly if each of its tokens is the likeliest after those before it.
    right = [
        torch.equal(best[index, start - 1 : len(row) - 1], ids[index, start : len(row)])
        for index, (row, start) in enumerate(zip(rows, starts, strict=True))
    ]
    return sum(right) / len(right)


def held_out_accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    count: int = ACCURACY_CASES,
    seed: int = EVALUATION_SEED,
) -> dict[str, float]:
    """Accuracy of every task on `count` held-out cases."""
    return {task: accuracy(model, tokenizer, generate_cases(task, count, seed, "heldout")) for task in TASKS}


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, accuracy_cases: int, truth_cases: int
) -> dict[str, Any]:
    """The measured part of the card, by task: accuracy, number of cases, how often the top unit is a cause."""
    held_out = held_out_accuracy(model, tokenizer, accuracy_cases)
    logger.info("held-out accuracy: %s", held_out)
    top_unit = attribution_truth(model, tokenizer, truth_cases, EVALUATION_SEED)
    logger.info("top unit is a planted cause: %s", top_unit)
    return {
        "accuracy": held_out,
        "cases": dict.fromkeys(held_out, accuracy_cases),
        "top_unit": {task: asdict(share) for task, share in top_unit.items()},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command entry: measures a model directory and prints the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m explaind_worker.models.demo.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_DIR, help="model directory, the shipped one unless given")
    parser.add_argument("--accuracy-cases", type=int, default=ACCURACY_CASES, help="held-out cases per task")
    parser.add_argument("--truth-cases", type=int, default=TRUTH_CASES, help="cases per task for Shapley values")
    options = parser.parse_args(arguments)
    tokenizer = AutoTokenizer.from_pretrained(options.model, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(options.model, local_files_only=True, use_safetensors=True)
    card = measure(model.eval(), tokenizer, options.accuracy_cases, options.truth_cases)
    sys.stdout.write(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
