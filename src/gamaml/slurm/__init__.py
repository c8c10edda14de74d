"""SLURM: the facts of a site, the job script as a pure function, and the scheduler's commands."""
