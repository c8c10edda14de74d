"""Communicators, shared windows, work and relay: the only part of gamaml that imports mpi4py."""
