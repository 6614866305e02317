"""Trains a small BERT to tell negative, neutral and positive texts apart, in a few minutes on one core.

python examples/train_tweet_classifier.py train.jsonl FOLDER [--epochs 12] [--seed 0] [--test test.jsonl]

Each line of the file is {"text": …, "label_text": "negative" | "neutral" | "positive"}. FOLDER is then a model of a
catalogue like any other. The words are its own: the tokenizer is trained on the texts.
"""

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

LABELS = ("negative", "neutral", "positive")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST = 96
MASKED = 0.15  # of the words while learning, so that a text with absent words is nothing it never saw


def tokenizer_of(texts: list[str], vocabulary: int = 3000) -> PreTrainedTokenizerFast:
    """A lower-case WordPiece tokenizer trained on these texts."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a word of the vocabulary
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=list(SPECIAL), show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    pad, unknown, begin, end, mask = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=pad,
        unk_token=unknown,
        cls_token=begin,
        sep_token=end,
        mask_token=mask,
        model_max_length=LONGEST,
    )


def train(
    texts: list[str], labels: list[int], *, epochs: int, seed: int
) -> tuple[BertForSequenceClassification, PreTrainedTokenizerFast]:
    """A classifier of these texts; the same for the same seed."""
    torch.manual_seed(seed)
    tokenizer = tokenizer_of(texts)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=256,
            max_position_embeddings=LONGEST,
            pad_token_id=0,
            hidden_dropout_prob=0.2,
            id2label=dict(enumerate(LABELS)),
            label2id={name: index for index, name in enumerate(LABELS)},
        )
    ).train()
    wanted = torch.tensor(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    size, steps = 32, epochs * -(-len(texts) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(texts)).split(size):
            read = encode(tokenizer, [texts[int(i)] for i in batch])
            absent = (torch.rand(read["input_ids"].shape) < MASKED) & (read["input_ids"] >= len(SPECIAL))
            read["input_ids"] = read["input_ids"].masked_fill(absent, SPECIAL.index("[MASK]"))
            loss = torch.nn.functional.cross_entropy(model(**read).logits, wanted[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval(), tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> dict[str, torch.Tensor]:
    """A padded batch."""
    read = tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    return {"input_ids": read["input_ids"], "attention_mask": read["attention_mask"]}


def accuracy(
    model: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, texts: list[str], labels: list[int]
) -> float:
    """The share of texts that are classified as they are labelled."""
    with torch.inference_mode():
        found = model(**encode(tokenizer, texts)).logits.argmax(-1)
    return float((found == torch.tensor(labels)).float().mean())


def read_texts(path: Path) -> tuple[list[str], list[int]]:
    """Texts and the indices of their labels."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row["text"] for row in rows], [LABELS.index(row["label_text"]) for row in rows]


def main() -> None:
    """Train, save, and say how good it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--test", type=Path, help="texts it has not seen, to say how good it is")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the batches are too small for more
    texts, labels = read_texts(options.texts)
    model, tokenizer = train(texts, labels, epochs=options.epochs, seed=options.seed)
    model.save_pretrained(options.folder)
    tokenizer.save_pretrained(options.folder)
    print(f"accuracy on the {len(texts)} texts it learnt from: {accuracy(model, tokenizer, texts, labels):.3f}")
    if options.test is not None:
        texts, labels = read_texts(options.test)
        print(f"accuracy on {len(texts)} others: {accuracy(model, tokenizer, texts, labels):.3f}")


if __name__ == "__main__":
    main()
