"""Moving bytes between live disks and the snapshot store, in worker processes."""
