"""Trains the tuned lens that comes with the built-in model; to be run again when that model is trained anew.

python examples/train_demo_lens.py lens.safetensors [--url URL]

The texts are prompts and answers of all tasks, from the side of the split that the model was trained on.
"""

import argparse
from pathlib import Path

from own_service import stack_of

from explaind import Client
from explaind_worker.models.demo.cases import TASKS, generate_cases

CASES_OF_A_TASK, SEED = 120, 1


def texts() -> list[str]:
    """What the lens is trained on."""
    cases = [case for task in TASKS for case in generate_cases(task, CASES_OF_A_TASK, SEED, "train")]
    return [case.prompt + case.answer for case in cases]


def trained(url: str, out: Path, *, steps: int = 90, batch_tokens: int = 1024) -> None:
    """Trains it there, tells how good it is on held-out texts, and writes it."""
    with Client(url) as client:
        training = client.train.tuned_lens(model="demo", text=texts(), steps=steps, batch_tokens=batch_tokens, seed=0)
        kept = training.held_out
        for stream, layer, plain, tuned in zip(
            kept.streams, kept.layers, kept.logit_lens, kept.tuned_lens, strict=True
        ):
            print(f"{stream} {layer}: logit lens {plain:.2f}, tuned lens {tuned:.2f} nats")
        client.artifacts.download(training.lens.id, out)


def main() -> None:
    """Train, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--url", help="the address of a running service; by default a stack of its own")
    options = parser.parse_args()
    if options.url is not None:
        trained(options.url, options.out)
        return
    with stack_of({}) as url:
        trained(url, options.out)


if __name__ == "__main__":
    main()
