"""The command line: `explaind explain shap --model demo --prompt "…"`."""

from explaind.cli.app import main

__all__ = ["main"]
