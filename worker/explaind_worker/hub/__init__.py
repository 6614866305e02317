"""Model files from the Hugging Face hub: download, verification, and error messages."""
