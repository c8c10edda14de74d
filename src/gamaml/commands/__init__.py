"""The subcommands of `gamaml`, one module each, and what they share."""
