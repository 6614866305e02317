"""The built-in model `demo`: a small Llama trained on tasks whose causes are known."""

from pathlib import Path

MODEL_DIR: Path = Path(__file__).resolve().parent / "files"
"""The shipped directory: config, tokenizer, safetensors weights and the measured `card.json`."""

__all__ = ["MODEL_DIR"]
