"""Tiny models of every supported family, with random weights and a small trained tokenizer, on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers import models as tokenizer_models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from explaind.contract.registry import find_method
from explaind_jobs.catalogue import ModelEntry
from explaind_worker.models.loading.loaded import LoadedClassifier, LoadedModel
from explaind_worker.models.pool.pool import ModelPool
from explaind_worker.runtime.runner import implementation_of
from explaind_worker.session.session import Session
from tests.support.classifiers import ENCODERS, save_classifier, word_pieces
from tests.support.families import shape_of
from tests.support.memory_files import KeptFiles

TEXT = (
    "The food was great but the room was small and the staff were rude. When Mary and John went to the store, "
    "John gave a drink to Mary. Every fox is red. 3 + 4 = 7. I don't like it... really! Once upon a time 12 and 3."
)
ModelMaker = Callable[..., ModelEntry]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of some 330 tokens, with a start token and a chat template."""
    made = Tokenizer(tokenizer_models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<mask>", "<|user|>", "<|assistant|>"]
    made.train_from_iterator(
        [TEXT],
        trainers.BpeTrainer(
            vocab_size=330,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", mask_token="<mask>"
    )
    wrapped.chat_template = (
        "{{ '<s>' }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    )
    return wrapped


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> ModelMaker:
    """`tiny_model("llama", **fields)`: the catalogue entry of a saved model of that family."""
    made: dict[str, Path] = {}

    def make(family: str = "llama", **fields: Any) -> ModelEntry:
        if family not in made:
            torch.manual_seed(0)
            config = AutoConfig.for_model(
                family,
                vocab_size=len(tokenizer),
                initializer_range=0.2,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
                **shape_of(family),
            )
            folder = tmp_path_factory.mktemp(family)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[family] = folder
        # A pool knows models by their names: one that is loaded otherwise has another.
        otherwise = [str(fields[key]) for key in ("dtype", "quantization", "kind", "device") if key in fields]
        return ModelEntry(name="-".join([f"tiny-{family}", *otherwise]).replace(":", "-"), path=made[family], **fields)

    return make


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> ModelMaker:
    """`tiny_classifier("bert", problem_type=…)`: the entry of a saved classifier; `fields` are the entry's."""
    made: dict[str, Path] = {}
    pieces = word_pieces(TEXT)

    def make(family: str = "bert", *, fields: dict[str, Any] | None = None, **config: Any) -> ModelEntry:
        key = f"{family} {sorted(config.items())}"
        if key not in made:
            made[key] = tmp_path_factory.mktemp(family)
            save_classifier(made[key], family, pieces if family in ENCODERS else tokenizer, **config)
        name = "-".join([made[key].name, *map(str, (fields or {}).values())])
        return ModelEntry(name=name, path=made[key], **(fields or {}))

    return make


@pytest.fixture(scope="session")
def pool() -> ModelPool:
    """One pool for the session, so that each tiny model is loaded once."""
    return ModelPool()


@pytest.fixture(scope="session")
def loaded(pool: ModelPool, tiny_model: ModelMaker) -> Callable[[str], LoadedModel]:
    """`loaded("gpt2")`: the tiny model of that family in memory."""
    return lambda family="llama": pool.model(tiny_model(family))[0]


@pytest.fixture(scope="session")
def classifier(pool: ModelPool, tiny_classifier: ModelMaker) -> Callable[..., LoadedClassifier]:
    """`classifier("bert")`: the tiny classifier of that family in memory."""
    return lambda family="bert", **wanted: pool.model(tiny_classifier(family, **wanted))[0]


@pytest.fixture(scope="session")
def run(pool: ModelPool, tiny_model: ModelMaker) -> Callable[..., Any]:
    """`run("explain/shap", prompt=…)`: the result of a method on a tiny model (or on `entry`), with `files`."""

    def run_method(path: str, *, entry: ModelEntry | None = None, files: Any = None, **params: Any) -> Any:
        method = find_method(path)
        entry = entry or tiny_model("llama")
        request = method.params_model.model_validate({"model": entry.name, **params})
        with Session(entry, pool, lambda *_: None, files=files or KeptFiles()) as session:
            return implementation_of(method)(request, session)

    return run_method
