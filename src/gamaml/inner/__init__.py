"""The inner loop of meta-learning: any number of rounds of (collect data -> one gradient step), in JAX.

Source: Finn et al. 2017 (arXiv 1703.03400), Algorithms 2 and 3, their lines 5 to 8, repeated.
"""
