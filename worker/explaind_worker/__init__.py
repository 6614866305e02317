"""The worker: takes a job from the queue, holds the model, runs the method."""
