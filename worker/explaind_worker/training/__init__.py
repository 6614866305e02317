"""Parts shared by training methods: texts and token batches."""
