"""The built-in model `demo`: a small Llama trained on tasks whose causes are known."""

from pathlib import Path

MODEL_DIR: Path = Path(__file__).resolve().parent / "files"
"""The shipped directory: config, tokenizer, safetensors weights and the measured `card.json`."""

LENS: Path = Path(__file__).resolve().parent / "lens.safetensors"
"""A tuned lens of it. Beside its directory, whose files make up its fingerprint, which the lens holds."""

__all__ = ["LENS", "MODEL_DIR"]
