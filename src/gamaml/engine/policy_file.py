"""A policy of a run as a file of plain arrays, for programs without gamaml."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gamaml import config as cfg
from gamaml import problems
from gamaml.errors import check_file_name
from gamaml.evolution.genome import Genome
from gamaml.evolution.linear_genome import LinearGenome

if TYPE_CHECKING:
    from gamaml.runlog import Run


@dataclass(frozen=True)
class Exported:
    """The contents of a written file.

    Attributes:
        path: the file.
        arrays: name -> array, without the config.
        num_params: length of the parameter vector.
        genome: the genome behind the arrays; None if the strategy has no genomes.
    """

    path: Path
    arrays: Mapping[str, Any]
    num_params: int
    genome: Genome | LinearGenome | None


def export(
    run: Run,
    path: Path | str,
    *,
    generation: int | None = None,
    index: int | None = None,
    contender: int | None = None,
) -> Exported:
    """Write a policy's arrays to an .npz file, which `numpy.load` reads without pickle.

    The file holds the network's arrays by name (w0, b0, w1, ...); `step_sizes`, float32[arrays] or one per parameter,
    `std`, `discount` and `gae_lambda`, where the inner loop or the policy has or evolves them; `observation_mean` and
    `observation_std` where observations are normalised. For a user's own problem without a method `arrays` it holds
    one array, `parameters`. The entry `config` is the run's config as JSON text.

    Args:
        run: from `gamaml.load`.
        path: the file, ending in .npz.
        generation: the last committed one by default.
        index: index of a child; by default, the incumbent is written.
        contender: index of a re-evaluated contender, instead of a child.

    Returns:
        The contents of the file.

    Raises:
        ConfigError: there is no such contender, or no such folder.
    """
    path = Path(path)
    check_file_name("file", path, [".npz"])
    sizes = run.header.sizes
    genome = run.genome(generation, index, contender=contender) if sizes.has_genomes or sizes.linear else None
    problem = problems.make_problem(run.config)
    params = run.parameters(generation, index, contender=contender, problem=problem)
    arrays: dict[str, Any] = dict(problem.arrays(params))
    arrays.update({name: np.array(values, np.float32) for name, values in run.header.constants.items()})
    config = json.dumps(cfg.to_mapping(run.config))
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("wb") as file:
        np.savez(file, config=np.array(config), **arrays)
    unfinished.replace(path)
    return Exported(path, arrays, len(params), genome)
