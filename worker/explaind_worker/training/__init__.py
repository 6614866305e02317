"""What training methods share: texts and token batches."""
