"""A strategy of your own: separable natural evolution strategies, whose std is a vector that evolves.

Source: Wierstra et al. 2014, Natural Evolution Strategies, JMLR 15:949-980, Algorithm 6.
"""

import math
from dataclasses import dataclass

import numpy as np

import gamaml
from gamaml.evolution import Outcome, Sizes, best_first, children_around, drawn_offsets, mutate, new_entries, root_state


@dataclass(frozen=True)
class SNES:
    """The vectors are mean and std; a child is a sample, an entry of a state a sample with its utility."""

    population_size: int = 32
    std: float = 0.1

    @property
    def sizes(self):
        """Two vectors, an entry per child, and the mean re-evaluated."""
        number = self.population_size
        return Sizes(number, num_vectors=2, num_entries=number, num_contenders=1, num_episodes=8)

    start = staticmethod(root_state)

    def children(self, state):
        """Draw one sample per child."""
        return children_around(state, drawn_offsets(state, self.population_size), 1.0)

    def contenders(self, state, records):
        """Re-evaluate the mean."""
        return new_entries(1)

    def next(self, state, records, reevaluations, progress):
        """Give every sample the utility of its rank."""
        raw = np.maximum(0, math.log(len(records) / 2 + 1) - np.log(np.arange(1, len(records) + 1)))
        samples = self.children(state)
        samples["factor"][best_first(state, records)] = raw / raw.sum() - 1 / len(records)
        return Outcome(state.followed_by(samples), float(reevaluations["fitness"].mean()), self.std, contender=0)

    def decode(self, entry, sources, out):
        """Add noise times the evolved std to the mean, nothing for the mean itself."""
        mean, std = sources.vectors
        mutate(mean, sources.block(max(entry["offset"], 0)), entry["factor"], std, out)

    def update(self, state, sources, part):
        """Follow the natural gradient."""
        if state.generation == 0:
            part.out[:] = sources.initial(state.entries["offset"][0]), np.full(sources.size, self.std)
            return
        mean, std = sources.vectors
        by_mean, by_std = np.zeros((2, sources.size), np.float32)
        for offset, utility in zip(state.entries["offset"], state.entries["factor"], strict=True):
            noise = sources.block(offset)
            by_mean += utility * noise
            by_std += utility * (noise * noise - 1)
        dimension = sources.problem.num_params
        rate = np.float32((3 + math.log(dimension)) / (5 * math.sqrt(dimension)))
        part.out[:] = mean + std * by_mean, std * np.exp(rate / 2 * by_std)

    def incumbent(self, state, vectors):
        """Hand out the mean."""
        return vectors[0]

    def describe(self):
        """Return name and settings in words."""
        return {"SNES": f"population {self.population_size}, std {self.std:g} at first"}


if __name__ == "__main__":
    sections = {"task": {"name": "sinusoid"}, "policy": {"hidden": [20]}, "inner": {"step_size": 0.01}}
    config = {"strategy": "custom_strategy:SNES", **sections, "stop": {"generations": 200}, "noise": {"size": 2**20}}
    gamaml.train(config, overwrite=True, on_generation=lambda info: print(info.incumbent_returns.round(3)))
