"""Adaptors between environments of other libraries and gamaml."""
