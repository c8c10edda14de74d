"""Strategies and what they share: candidates, decoding, records, random streams and the noise table."""
