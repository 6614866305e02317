"""What would the model say if it stopped at each layer? Logit lens and tuned lens, every sublayer decoded.

python examples/probing_lenses.py                                  the built-in model, in a stack of its own
python examples/probing_lenses.py --path FOLDER --text corpus.txt  a model of a directory (Llama, GPT-2, …)
python examples/probing_lenses.py --url URL --model NAME           a model of a running service
    [--prompt TEXT] [--target TEXT] [--text FILE] [--steps 60] [--lens ID] [--out probing-lenses]

A tuned lens is trained on the lines of the file (of the built-in model on prompts of its own kind), or taken from
`--lens`. Then the prompt is read with both: what attention, the stream between, the MLP and the whole block would say
at every layer and position, where the final token first wins, and how far each layer is from the end. Results and
report pages are kept in a folder.
"""

import argparse
from pathlib import Path
from typing import Any

from own_service import add_arguments, ended, keep, service_of

from explaind import Client

PROMPT, TARGET = "When Mary and John went to the store, John gave a drink to", " Mary"
SUBLAYERS = ("attn_out", "resid_mid", "mlp_out", "resid_post")
TEXTS_OF_DEMO, BATCH_TOKENS = 700, 1024


def texts_of_demo() -> list[str]:
    """Prompts and answers of the kinds that the built-in model was trained on."""
    from explaind_worker.models.demo.cases import TASKS, generate_cases  # noqa: PLC0415 - only without a file

    each = TEXTS_OF_DEMO // len(TASKS)
    return [case.prompt + case.answer for task in TASKS for case in generate_cases(task, each, 0, "train")]


def trained(client: Client, model: str, texts: list[str], steps: int) -> Any:
    """A tuned lens of the model: the job, ended; its result names the lens."""
    return ended(client.train.tuned_lens.submit(model=model, text=texts, steps=steps, batch_tokens=BATCH_TOKENS))


def told_training(found: Any) -> list[str]:
    """How far each layer is from the model's own answer, without and with the lens."""
    kept = found.held_out
    rows = zip(kept.streams, kept.layers, kept.logit_lens, kept.tuned_lens, strict=True)
    return [
        f"  {stream} {layer}: logit lens {plain:.3f}, tuned lens {tuned:.3f} nats"
        for stream, layer, plain, tuned in rows
    ]


def told_lens(found: Any) -> list[str]:
    """What each sublayer would say at the place that predicts the target's first token, a line each layer."""
    followed = found.tracked[0]
    place = followed.positions[0]
    lines = []
    for stream_index, name in enumerate(found.streams):
        if name.stream not in SUBLAYERS:
            continue
        tokens = []
        for row, layer in enumerate(name.layers):
            said = found.tokens[name.top_ids[row][place][0]]
            rank = followed.streams[stream_index].ranks[row][0]
            tokens.append(f"{layer}: {said!r} (rank of {followed.text!r} {rank})")
        lines.append(f"  {name.stream:10} {' | '.join(tokens)}")
    settled = found.stream("resid_post").settled_layer[place]
    lines.append(
        f"  the final token stays on top from layer {settled} on" if settled is not None else "  it never settles"
    )
    return lines


def main() -> None:
    """Train, decode, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--target", default=None, help="the continuation that is followed; by default what is said")
    parser.add_argument("--text", type=Path, help="a text a line to train the lens on")
    parser.add_argument("--steps", type=int, default=60, help="of the training")
    parser.add_argument("--lens", help="a lens that is there already")
    parser.add_argument("--out", type=Path, default=Path("probing-lenses"), help="the folder for what is found")
    options = parser.parse_args()
    if options.text is None and options.lens is None and (options.path is not None or options.model != "demo"):
        parser.error("a lens is trained on texts like those the model was: give --text FILE, or --lens ID")
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.target or (TARGET if options.prompt == PROMPT else None)
    with service_of(options) as (url, model), Client(url) as client:
        lens = options.lens
        if lens is None:
            texts = texts_of_demo() if options.text is None else options.text.read_text(encoding="utf-8").splitlines()
            training = trained(client, model, [text for text in texts if text.strip()], options.steps)
            print(
                "KL of each layer to the model's own answer, on texts held out:",
                *told_training(training.result),
                sep="\n",
            )
            keep(options.out, "training", training)
            lens = training.result.lens.id
        asked = {"model": model, "prompt": options.prompt, "target": target}
        for name, job in (
            ("logit-lens", ended(client.explain.logit_lens.submit(**asked))),
            ("tuned-lens", ended(client.explain.tuned_lens.submit(**asked, lens=lens))),
        ):
            print(f"{name}:", *told_lens(job.result), sep="\n")
            keep(options.out, name, job)
    print(f"Results and reports are in {options.out}.")


if __name__ == "__main__":
    main()
