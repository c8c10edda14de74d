"""What can be known of a job without MPI: its launcher, signals, memory, sizes and versions."""
