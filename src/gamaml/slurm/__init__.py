"""SLURM: facts of a site, the job script as a pure function, and the commands of the scheduler."""
