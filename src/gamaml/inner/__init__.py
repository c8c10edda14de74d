"""The inner loop of meta-learning: any number of rounds of (collect data -> one gradient step).

`rounds` has one round, which JAX tasks (`loop`) and host tasks (`host_loop`) share.

Source: Finn et al. 2017 (arXiv 1703.03400), Algorithms 2 and 3, their lines 5 to 8, repeated.
"""
