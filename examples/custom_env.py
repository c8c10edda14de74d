"""A meta-task of your own on Gymnasium: CartPole whose two buttons may be swapped. A policy has to try them."""

import gymnasium

import gamaml


class Swapped:
    """Buttons as usual (task 0) or swapped (task 1)."""

    horizon = 100

    def sample_many(self, generator, number):
        """Return the tasks of one evaluation: usual and swapped in turn."""
        return [index % 2 for index in range(number)]

    def make_env(self, task):
        """Return an environment of a task."""
        return gymnasium.wrappers.TransformAction(gymnasium.make("CartPole-v1"), lambda action: action ^ task, None)


if __name__ == "__main__":
    inner = {"rounds": 3, "num_tasks": 2, "episodes": 10, "step_size": 0.5, "step_size_gene": "layer"}
    ga = {"population_size": 40, "num_parents": 5, "mutation_std": 0.1, "elite": {"candidates": 3, "episodes": 4}}
    config = {"inner": inner, "ga": ga, "stop": {"generations": 20}, "noise": {"size": 2**20}}
    for info in gamaml.generations(config, task=Swapped(), overwrite=True):
        print(info.incumbent_returns.round(1))
