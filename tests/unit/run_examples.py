"""A small run whose generations follow from their index alone, for the tests of the run log."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from doubles import AT_START

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.evolution import chosen_strategy
from gamaml.evolution.entries import Entries
from gamaml.evolution.genome import Genome, Step
from gamaml.evolution.rebuild import Course
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
    config = example_config() if config is None else config
    strategy = chosen_strategy.make(config)
    header = Header(
        name="run",
        config=config,
        num_params=NUM_PARAMS,
        num_rounds=2,
        scalars=("length",),
        metric="return",
        noise_digest="00ff",
        sizes=strategy.sizes,
        description=strategy.describe(),
        versions={"numpy": "2.0"},
        machine={"cpu": "a"},
    )
    return dataclasses.replace(header, **changes)


def chain(root: int, *mutations: tuple[int, float]) -> Genome:
    """Return the genome of a candidate whose ancestors have one parent each."""
    return Genome((Step((), root, 1.0), *(Step((place,), *mutation) for place, mutation in enumerate(mutations))))


def example_generation(history: Sequence[Entries], header: Header | None = None) -> Generation:
    """Return the generation that follows on `history`: 10 steps per child, 1 per re-evaluation, 2 seconds."""
    header = example_header() if header is None else header
    chosen, sizes, g = chosen_strategy.make(header.config), header.sizes, len(history)
    space = chosen_strategy.space_of(header.config, header.num_params)
    state = Course(chosen.start(header.config.seed, space), history).state
    rng = np.random.default_rng(g)
    records = _records(header, sizes.population_size, 10, rng)
    contenders = chosen.contenders(state, records)
    reevaluations = _records(header, len(contenders) * sizes.num_episodes, 1, rng)
    outcome = chosen.next(state, records, reevaluations, AT_START)
    return Generation(
        generation=g,
        records=records,
        contenders=contenders,
        reevaluations=reevaluations,
        entries=outcome.state.entries,
        contender=outcome.contender,
        std=outcome.std,
        incumbent_fitness=outcome.fitness,
        seconds=2.0,
    )


def example_generations(number: int, header: Header | None = None) -> list[Generation]:
    generations: list[Generation] = []
    for _ in range(number):
        generations.append(example_generation([generation.entries for generation in generations], header))
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
