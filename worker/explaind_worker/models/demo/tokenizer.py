"""Tokenizer of the demo model: byte-level BPE trained on the task corpus, with single-digit tokens."""

from collections.abc import Iterator
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from explaind_worker.models.demo import vocabulary as words
from explaind_worker.models.demo.cases import AUXILIARY_TASKS, TASKS, generate_cases

PAD, BOS, EOS, UNK, MASK = "<pad>", "<s>", "</s>", "<unk>", "<mask>"
USER, ASSISTANT = "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (PAD, BOS, EOS, UNK, MASK, USER, ASSISTANT)

CONTEXT = 256

# One digit, one run of letters, or one run of other marks, each with the space before it; then whitespace alone.
_PIECES = r" ?\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{%- set system = namespace(text='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}"
    "{%- set system.text = message['content'] | trim + ' ' -%}"
    "{%- elif message['role'] == 'user' -%}"
    "{{- '<|user|>' + system.text + message['content'] | trim -}}"
    "{%- set system.text = '' -%}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- '<|assistant|> ' + message['content'] | trim + eos_token -}}"
    "{%- else -%}"
    "{{- raise_exception('roles are system, user and assistant, not ' + message['role']) -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
"""Chat form of the training data: `<s><|user|>3 + 4 =<|assistant|> 7</s>`; a system message goes before
the first user message, in the same turn."""


def build_tokenizer(vocabulary_size: int = 1300) -> PreTrainedTokenizerFast:
    """A fast tokenizer trained on the training split, checked to hold every cause and answer as one token."""
    bpe = Tokenizer(models.BPE(unk_token=UNK))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_corpus(), trainer)
    bos = bpe.token_to_id(BOS)
    # Trimmed offsets: a token's span is the word itself, without the preceding space.
    bpe.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B:1", special_tokens=[(BOS, bos)]),
        ]
    )
    _check_single_tokens(bpe)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **_settings())


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """The id of `token`, which must be in the vocabulary."""
    found = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(found, int):
        raise TypeError(f"one token, not {token!r}")
    return found


def _settings() -> dict[str, Any]:
    return {
        "pad_token": PAD,
        "bos_token": BOS,
        "eos_token": EOS,
        "unk_token": UNK,
        "mask_token": MASK,
        "additional_special_tokens": [USER, ASSISTANT],
        "chat_template": CHAT_TEMPLATE,
        "model_max_length": CONTEXT,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
    }


def _corpus() -> Iterator[str]:
    for task in (*TASKS, *AUXILIARY_TASKS):
        for case in generate_cases(task, 1000, seed=0, split="train"):
            yield case.prompt + case.answer
    yield from words.SYSTEM_MESSAGES
    # Each listed word both after a space and at the start of a text, often enough to become one token.
    for word in sorted({*words.CAUSE_WORDS, *words.ANSWER_WORDS}):
        yield from [f" {word}", word] * 200


def _check_single_tokens(bpe: Tokenizer) -> None:
    split = [
        form
        for word in {*words.CAUSE_WORDS, *words.ANSWER_WORDS}
        for form in (word, f" {word}")
        if len(bpe.encode(form, add_special_tokens=False).ids) != 1
    ]
    if split:
        raise ValueError(f"not one token each, raise the vocabulary size: {', '.join(sorted(split))}")
