"""Networks and how they lie in a flat parameter vector."""
