"""One job on one rank: the engine, the population drivers, the workers and the evaluations."""
