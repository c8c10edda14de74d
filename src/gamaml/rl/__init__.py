"""Rollouts and returns."""
