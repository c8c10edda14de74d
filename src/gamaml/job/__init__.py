"""Facts about a job that need no MPI: its launcher, signals, memory, sizes and versions."""
