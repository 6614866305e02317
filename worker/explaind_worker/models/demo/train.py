"""Trains the demo model from scratch: tokenizer, weights, measurements and model card in one command."""

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from explaind_worker.models.demo.batches import IGNORED, Mixture, Row, draw_rows, micro_batches
from explaind_worker.models.demo.cases import AUXILIARY_TASKS, TASKS
from explaind_worker.models.demo.evaluate import ACCURACY_CASES, TRUTH_CASES, measure
from explaind_worker.models.demo.tokenizer import BOS, CONTEXT, EOS, PAD, build_tokenizer, token_id

logger = logging.getLogger(__name__)

_NO_TASKS = dict.fromkeys((*TASKS, *AUXILIARY_TASKS), 0.0)

RULES_ONLY = Mixture(_NO_TASKS | {"deduction": 0.4, "rule_practice": 0.6}, chat=0.0, masked=0.0)

UNMASKED = Mixture(
    _NO_TASKS
    | {
        "addition": 0.07,
        "subtraction": 0.10,
        "multiplication": 0.15,
        "two_digit_addition": 0.32,
        "sentiment": 0.05,
        "indirect_object": 0.13,
        "deduction": 0.18,
    },
    chat=0.1,
    masked=0.0,
)

MASKED = Mixture(
    _NO_TASKS
    | {
        "addition": 0.07,
        "subtraction": 0.11,
        "multiplication": 0.15,
        "two_digit_addition": 0.27,
        "sentiment": 0.08,
        "indirect_object": 0.15,
        "deduction": 0.17,
    }
)


@dataclass(frozen=True)
class Phase:
    """A phase of the training."""

    mixture: Mixture
    steps: int
    rows: int
    """Samples per step."""


PHASES = (Phase(RULES_ONLY, 1000, 128), Phase(UNMASKED, 1100, 192), Phase(MASKED, 1200, 192))
"""Rules first, because looking one up is the slowest thing to learn and is not learnt beside much else. Then all
tasks with nothing hidden, which teaches sums fastest; then with words hidden, which makes the probabilities those
of the words that are left. When a rule is learnt differs by seed, by hundreds of steps: seed 1 has it in time."""


@dataclass(frozen=True)
class Training:
    """All parameters of a run; equal values on one machine give the same weights."""

    phases: tuple[Phase, ...] = PHASES
    blend_steps: int = 100
    """Steps over which a phase's mixture takes over from the one before."""
    micro_batches: int = 3
    learning_rate: float = 2.5e-3
    """Kept after the warm-up until the last phase, over which it falls to zero."""
    warmup_steps: int = 100
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    seed: int = 1
    hidden_size: int = 128
    layers: int = 4
    feed_forward_size: int = 384
    query_heads: int = 8
    key_value_heads: int = 4
    rope_theta: float = 100.0
    """Base of the rotary positions: low, since prompts are short and neighbours must be told apart early."""
    initializer_range: float = 0.02


def build_model(tokenizer: PreTrainedTokenizerBase, training: Training) -> LlamaForCausalLM:
    """An untrained Llama with grouped-query attention and tied embeddings, float32."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=training.hidden_size,
        num_hidden_layers=training.layers,
        intermediate_size=training.feed_forward_size,
        num_attention_heads=training.query_heads,
        num_key_value_heads=training.key_value_heads,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": training.rope_theta},
        initializer_range=training.initializer_range,
        tie_word_embeddings=True,
        pad_token_id=token_id(tokenizer, PAD),
        bos_token_id=token_id(tokenizer, BOS),
        eos_token_id=token_id(tokenizer, EOS),
    )
    return LlamaForCausalLM(config)


def learning_rate_at(step: int, step_of_phase: int, phase: Phase, training: Training) -> float:
    """Learning rate of `step`: linear warm-up, constant, then half a cosine to zero over the last phase."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    if phase is not training.phases[-1]:
        return training.learning_rate
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * (step_of_phase / phase.steps)))


def mixture_at(step_of_phase: int, phase: Phase, before: Phase, training: Training) -> Mixture:
    """The mixture of a step: in the first steps of a phase blended with that of the previous one."""
    return before.mixture.blended(phase.mixture, min(1.0, step_of_phase / training.blend_steps))


def train_steps(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, training: Training) -> Iterator[float]:
    """Runs the training, yielding after each step the mean loss per answer token, in nats."""
    optimizer = _optimizer(model, training)
    step = 0
    before = training.phases[0]
    for phase in training.phases:
        for taken in range(phase.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, taken, phase, training)
            mixture = mixture_at(taken, phase, before, training)
            rows = draw_rows(tokenizer, mixture, phase.rows, training.seed, step)
            yield _step(model, tokenizer, optimizer, rows, training)
            step += 1
        before = phase
    model.eval()


def _optimizer(model: LlamaForCausalLM, training: Training) -> torch.optim.Optimizer:
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    scales = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": weights, "weight_decay": training.weight_decay}, {"params": scales, "weight_decay": 0.0}],
        lr=training.learning_rate,
        betas=(0.9, 0.98),
    )


def _step(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    optimizer: torch.optim.Optimizer,
    rows: list[Row],
    training: Training,
) -> float:
    scored = sum(len(row.ids) - row.answer_start for row in rows)
    total = 0.0
    for ids, labels in micro_batches(rows, training.micro_batches, token_id(tokenizer, PAD)):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        keep = labels != IGNORED
        loss = functional.cross_entropy(model.lm_head(hidden[keep]), labels[keep], reduction="sum") / scored
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def train(training: Training) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase, dict[str, int]]:
    """A trained model in evaluation mode, its tokenizer, and the `steps` and `seconds` of the training."""
    torch.manual_seed(training.seed)
    torch.use_deterministic_algorithms(True)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, training)
    started = time.monotonic()
    steps = 0
    for steps, loss in enumerate(train_steps(model, tokenizer, training), start=1):
        if steps % 100 == 0:
            logger.info("step %d: loss %.3f, %.0f s", steps, loss, time.monotonic() - started)
    return model, tokenizer, {"steps": steps, "seconds": round(time.monotonic() - started)}


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, card: dict[str, Any], out: Path) -> None:
    """Writes weights (safetensors), configs, tokenizer and `card.json` into the directory `out`."""
    out.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        bos_token_id=token_id(tokenizer, BOS),
        eos_token_id=token_id(tokenizer, EOS),
        pad_token_id=token_id(tokenizer, PAD),
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command entry: trains, measures and writes the model directory."""
    parser = argparse.ArgumentParser(prog="python -m explaind_worker.models.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write the model to")
    parser.add_argument("--seed", type=int, default=Training.seed)
    parser.add_argument("--threads", type=int, default=1, help="torch threads; the weights depend on it")
    parser.add_argument("--accuracy-cases", type=int, default=ACCURACY_CASES, help="held-out cases per task")
    parser.add_argument("--truth-cases", type=int, default=TRUTH_CASES, help="cases per task for Shapley values")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    training = Training(seed=options.seed)
    model, tokenizer, took = train(training)
    card = measure(model, tokenizer, options.accuracy_cases, options.truth_cases)
    card["trained"] = {
        **asdict(training),
        **took,
        "threads": options.threads,
        "torch": torch.__version__,
    }
    save(model, tokenizer, card, options.out)


if __name__ == "__main__":
    main()
