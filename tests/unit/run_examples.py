"""A small run whose generations follow from their index alone, for the tests of the run log."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.evolution.candidates import (
    ROOT,
    Candidate,
    Genome,
    Lineage,
    lineage_of,
)
from gamaml.evolution.records import DONE
from gamaml.runlog import Generation, Header, RunLog

NUM_PARAMS = 10


def example_config(**ga_settings: Any) -> Config:
    settings = {
        "population_size": 6,
        "num_parents": 3,
        "elite": {"candidates": 2, "episodes": 4},
        **ga_settings,
    }
    return cfg.from_mapping(
        {"task": {"name": "navigation"}, "stop": {"generations": 5}, "ga": settings, "noise": {"size": 1000}}
    )


def example_es_config() -> Config:
    settings = {"population_size": 6, "episodes": 4}
    return cfg.from_mapping(
        {
            "strategy": "es",
            "task": {"name": "navigation"},
            "stop": {"generations": 5},
            "es": settings,
            "noise": {"size": 1000},
        }
    )


def example_header(config: Config | None = None, **changes: Any) -> Header:
    header = Header(
        name="run",
        config=example_config() if config is None else config,
        num_params=NUM_PARAMS,
        num_rounds=2,
        scalars=("length",),
        metric="return",
        noise_digest="00ff",
        versions={"numpy": "2.0"},
        machine={"cpu": "a"},
    )
    return dataclasses.replace(header, **changes)


def chain(root: int, *mutations: tuple[int, float]) -> Genome:
    """Return the genome of a candidate whose ancestors have one parent each."""
    steps = [Candidate(place, offset, std) for place, (offset, std) in enumerate(mutations)]
    return Genome((Candidate(ROOT, root, cfg.INITIAL_STD), *steps), (len(steps),))


def example_generation(lineage: Sequence[Lineage], header: Header | None = None) -> Generation:
    """Return the generation that follows on `lineage`: 10 steps per child, 1 per re-evaluation, 2 seconds."""
    header = example_header() if header is None else header
    chosen, g = header.strategy, len(lineage)
    state = chosen.initial(header.config.seed, header.config.noise.size - header.num_params + 1)
    if g:
        state = dataclasses.replace(state, generation=g, parents=lineage[-1])
    rng = np.random.default_rng(g)
    records = _records(header, chosen.population_size, 10, rng)
    selection = chosen.shortlist(state, records)
    candidates = lineage_of(selection.contenders, chosen.lineage_dtype)
    reevaluations = _records(header, len(candidates) * chosen.num_episodes, 1, rng)
    after, incumbent_fitness = selection.finish(reevaluations)
    return Generation(g, records, candidates, reevaluations, after.parents, chosen.std(g), incumbent_fitness, seconds=2.0)


def example_generations(number: int, header: Header | None = None) -> list[Generation]:
    generations: list[Generation] = []
    for _ in range(number):
        generations.append(example_generation([generation.parents for generation in generations], header))
    return generations


def write_example(path: Path, number: int, *, finished: bool = False, header: Header | None = None) -> None:
    header = example_header() if header is None else header
    with RunLog.open(path, header) as log:
        for generation in example_generations(number, header):
            log.commit(generation)
        log.close(finished=finished)


def _records(header: Header, number: int, steps: int, rng: np.random.Generator) -> Any:
    records = np.zeros(number, header.record_dtype)
    records["index"] = np.arange(number)
    records["flags"] = DONE
    records["steps"] = steps
    records["fitness"] = rng.normal(size=number)
    records["returns"] = rng.normal(size=(number, header.num_rounds + 1))
    records["seconds"] = 0.5
    return records
