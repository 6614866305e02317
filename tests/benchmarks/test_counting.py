"""What is counted of a network, and how two sides take turns."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.alternating import alternate
from benchmarks.counting import Counter, matrix_peak
from benchmarks.shapes import GPT2, LLAMA, SPECIAL, Prompt, tokenizer_of
from explaind_worker.models.structure.anatomy import anatomy_of

CPU = torch.device("cpu")


@pytest.fixture(params=[GPT2, LLAMA], ids=lambda shape: shape.family)
def network(request):
    shape = request.param.tiny()
    config = AutoConfig.for_model(shape.family, vocab_size=shape.vocabulary, **shape.fields)
    return AutoModelForCausalLM.from_config(config).eval()


def test_tokens_reads_and_operations(network):
    ids = torch.arange(10).reshape(2, 5)
    counter = Counter(network)
    network(ids)
    found = counter.take()
    assert (found.tokens, found.reads) == (10, 10)
    matrices = [p for block in anatomy_of(network).blocks for p in block.module.parameters() if p.dim() > 1]
    weights = sum(p.numel() for p in matrices)
    assert found.flops == 2 * 10 * (weights + network.get_output_embeddings().weight.numel())


def test_what_was_taken_is_counted_no_more(network):
    counter = Counter(network)
    network(torch.zeros(1, 3, dtype=torch.int64), logits_to_keep=1)
    first, second = counter.take(), counter.take()
    assert (first.tokens, first.reads) == (3, 1)
    assert (second.tokens, second.reads, second.flops) == (0, 0, 0.0)
    counter.close()
    network(torch.zeros(1, 3, dtype=torch.int64))
    assert counter.take().tokens == 0


def test_sides_take_turns_and_are_counted_apart(network):
    asked = []

    def side(name, tokens):
        def ask():
            asked.append(name)
            network(torch.zeros(1, tokens, dtype=torch.int64))
            return np.array([tokens])

        return ask

    with Counter(network) as counter:
        ours, peer = alternate(side("ours", 2), side("peer", 5), [counter], repeats=3, spend_s=60)
    assert asked == ["ours", "peer"] * 3
    assert (ours.count.tokens, peer.count.tokens) == (2, 5)
    assert len(ours.seconds) == len(peer.seconds) == 3


def test_a_case_that_takes_long_is_not_repeated():
    ours, peer = alternate(lambda: np.zeros(1), lambda: np.zeros(1), [], repeats=9, spend_s=0)
    assert len(ours.seconds) == len(peer.seconds) == 1


def test_the_peak_is_that_of_a_machine():
    assert 1e9 < matrix_peak(CPU, torch.float32) < 1e15
    assert matrix_peak(CPU, torch.float32) == matrix_peak(CPU, torch.float32), "measured once a run"


def test_prompts_have_as_many_tokens_as_they_should():
    tokenizer = tokenizer_of(400)
    prompt = Prompt.drawn(400, 8, target=3, prefix=5)
    assert tokenizer(prompt.text).input_ids == list(prompt.token_ids)
    assert tokenizer(prompt.text + prompt.target).input_ids[13:] == list(prompt.target_ids)
    assert len({*prompt.token_ids, *prompt.target_ids}) == 16
    assert min(prompt.token_ids) >= len(SPECIAL)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_segments_hold_whole_words_after_the_prefix(count):
    prompt = Prompt.drawn(400, 8, target=3, prefix=5)
    words = prompt.text.split()
    pieces = [prompt.text[start:end].split() for start, end in prompt.segments(count)["segments"]]
    assert [word for piece in pieces for word in piece] == words[5:]
    assert [len(piece) for piece in pieces] == np.bincount(prompt.groups(count)).tolist()
