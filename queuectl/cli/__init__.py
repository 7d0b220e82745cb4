"""The command line: a thin adapter over `queuectl.QueueEngine`."""
