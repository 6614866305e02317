"""Prints the median seconds of a forward of 256 rows of 16 tokens through the demo model; `--forever` repeats it."""

import statistics
import sys

import torch
from transformers import AutoModelForCausalLM, logging

from benchmarks.rows import seconds
from explaind_worker.models.demo import MODEL_DIR


def main() -> None:
    """Measure and print."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR).eval()
    ids = torch.arange(256 * 16).reshape(256, 16).remainder(model.config.vocab_size)
    with torch.inference_mode():
        model(ids, use_cache=False)
        while "--forever" in sys.argv:
            model(ids, use_cache=False)
        print(statistics.median(seconds(lambda: model(ids, use_cache=False)) for _ in range(9)))


if __name__ == "__main__":
    main()
