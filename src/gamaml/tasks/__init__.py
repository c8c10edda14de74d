"""The ready-made meta-tasks, one family per module."""
