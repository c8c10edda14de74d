"""The exit codes of `gamaml`, which job scripts and schedulers read."""

DONE = 0

FAILURE = 1

MISTAKE = 2
"""A mistake in the arguments or in a config; nothing was started or written."""

INTERRUPTED = 75
"""A signal ended the job after a checkpoint, and the job should be started again (EX_TEMPFAIL)."""
