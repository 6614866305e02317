"""The life of a job, shared by service and worker: settings, catalogue, store, queue, embedded stack."""
