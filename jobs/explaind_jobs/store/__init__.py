"""The job record and its state machine in Redis: submission, claim, lease, end, listing."""
