"""Episodes: in JAX and on the host."""
