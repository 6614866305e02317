"""Tiny classifiers of many families, with random weights, on disk: encoders as well as causal bodies with a head."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as tokenizer_models
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
GQA = SHAPE | {"num_key_value_heads": 2}
DISTANCES = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
ENCODERS: dict[str, dict[str, Any]] = {
    "bert": SHAPE,
    "roberta": SHAPE,
    "distilbert": {"dim": 64, "hidden_dim": 128, "n_layers": 3, "n_heads": 4, "max_position_embeddings": 128},
    "electra": SHAPE | {"embedding_size": 32},
    "deberta-v2": SHAPE | DISTANCES,
    "albert": SHAPE | {"embedding_size": 32},
    "modernbert": SHAPE | {"local_attention": 8, "global_attn_every_n_layers": 2},
}
CAUSAL_BODIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 128},
    "llama": GQA,
    "gemma": GQA | {"head_dim": 32},
    "gemma3_text": GQA | {"head_dim": 32, "sliding_window": 6},
    "mistral": GQA | {"sliding_window": 6},
    "gpt_neox": SHAPE,
}
FAMILIES = ENCODERS | CAUSAL_BODIES
NAMES = ("NEGATIVE", "NEUTRAL", "POSITIVE")


def word_pieces(text: str) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer with BERT's five special tokens, its closing [SEP] among them."""
    made = Tokenizer(tokenizer_models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    made.train_from_iterator([text], trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def save_classifier(folder: Path, family: str, tokenizer: PreTrainedTokenizerFast, **config: Any) -> None:
    """Write a model of that family with random weights; `config` changes its classes, problem type and the like."""
    torch.manual_seed(0)
    encoder = family in ENCODERS
    ends = {"pad_token_id": 0} | ({"cls_token_id": 2, "sep_token_id": 3} if encoder else {"eos_token_id": 2})
    if family == "roberta":
        ends = {"pad_token_id": 1}  # positions are counted from the padding token's id on
    made = AutoConfig.for_model(
        family,
        **{
            "vocab_size": len(tokenizer),
            "initializer_range": 0.2,
            "bos_token_id": 1,
            "id2label": dict(enumerate(NAMES)),
            "label2id": {name: index for index, name in enumerate(NAMES)},
            **ends,
            **FAMILIES[family],
            **config,
        },
    )
    AutoModelForSequenceClassification.from_config(made).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
