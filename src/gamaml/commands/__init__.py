"""The subcommands of `gamaml`, one module each, and their common parts."""
