"""Episodes in JAX and on the host, with one Trajectory for both."""
