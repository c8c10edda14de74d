"""Networks, and their layout in a flat parameter vector."""
