"""A policy of a run as a file of plain arrays, for programs that know nothing of gamaml."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gamaml import config as cfg
from gamaml import problems
from gamaml.errors import check_file_name
from gamaml.evolution.candidates import Genome
from gamaml.runlog import Run

SUFFIX = ".npz"


@dataclass(frozen=True)
class Exported:
    """What went into a file.

    Attributes:
        path: of the file.
        arrays: name -> array, without the config.
        num_params: length of the parameter vector.
        genome: from which all of it was computed; None where the strategy has none.
    """

    path: Path
    arrays: Mapping[str, Any]
    num_params: int
    genome: Genome | None


def export(
    run: Run,
    path: Path,
    *,
    generation: int | None = None,
    index: int | None = None,
    candidate: int | None = None,
) -> Exported:
    """Write a policy's arrays to an .npz file, which `numpy.load` reads without pickle.

    The arrays are those of the network by name (w0, b0, w1, ...); `step_sizes`, float32[arrays] or one per parameter,
    `std`, `discount` and `gae_lambda`, where the inner loop or the policy has or evolves them; `observation_mean` and
    `observation_std` where observations are normalised. A problem of the user's own without a method `arrays` gives
    one, `parameters`. The entry `config` is the run's config as JSON text.

    Args:
        run: from `gamaml.load`.
        path: of the file, ending in .npz.
        generation: the last committed one by default.
        index: of a child; the elite by default.
        candidate: index of a re-evaluated candidate, instead of a child.

    Raises:
        ConfigError: there is no such candidate, or no such folder.
    """
    check_file_name("file", path, [SUFFIX])
    genome = run.genome(generation, index, candidate=candidate) if run.strategy.has_genomes else None
    problem = problems.make_problem(run.config)
    params = run.parameters(generation, index, candidate=candidate, problem=problem)
    arrays: dict[str, Any] = dict(problem.arrays(params))
    arrays.update({name: np.array(values, np.float32) for name, values in run.header.constants.items()})
    config = json.dumps(cfg.to_mapping(run.config))
    unfinished = path.with_name(f".{path.name}")
    with unfinished.open("wb") as file:
        np.savez(file, config=np.array(config), **arrays)
    unfinished.replace(path)
    return Exported(path, arrays, len(params), genome)


def text(exported: Exported) -> str:
    """Return what was written, in a line for each array."""
    width = max(map(len, exported.arrays))
    lines = [
        f"  {name:<{width}}  {np.asarray(array).dtype}{list(np.shape(array))}"
        for name, array in exported.arrays.items()
    ]
    size = exported.path.stat().st_size
    source = "" if exported.genome is None else f", from a genome of {exported.genome.nbytes:,} bytes"
    lines.append(f"{exported.path}: {exported.num_params:,} parameters, {size:,} bytes{source}")
    return "\n".join(lines)
