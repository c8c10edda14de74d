"""The header of a run: the facts that must not change while a run goes on, and the refusal of changes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.errors import RunFileError
from gamaml.evolution.records import record_dtype
from gamaml.evolution.strategy import Sizes

SCHEMA_VERSION = 3
"""Version of the layout of journal and HDF5 file; a reader refuses all others."""


@dataclass(frozen=True)
class Header:
    """The identity of a run.

    Attributes:
        name: the run's name.
        config: the run's config.
        num_params: length of the parameter vector.
        num_rounds: inner updates; a record holds num_rounds + 1 returns.
        scalars: names of the extra floats per record.
        metric: "return" or "loss".
        noise_digest: digest of the noise table in hexadecimal.
        sizes: the strategy's sizes, so the run can be read without its class.
        description: the strategy's name and settings in words.
        versions: library -> version; a difference on resume has to be accepted.
        machine: description of the machine; never compared.
        reproducible: whether an evaluation can be repeated bit for bit, as the problem declares.
        constants: arrays by name, as lists, measured by the problem at the beginning of the run; part of the science,
            and adopted by every later job.
        optimal_return: the greatest mean return that any policy can reach, NaN if unknown, None if the task does not
            define it. It is reported, never compared.
    """

    name: str
    config: Config
    num_params: int
    num_rounds: int
    scalars: tuple[str, ...]
    metric: str
    noise_digest: str
    sizes: Sizes
    description: dict[str, str]
    versions: dict[str, str]
    machine: dict[str, str]
    reproducible: bool = True
    constants: dict[str, list[float]] = dataclasses.field(default_factory=dict[str, list[float]])
    optimal_return: float | None = None

    @property
    def record_dtype(self) -> np.dtype[np.void]:
        """The dtype of this run's result records."""
        return record_dtype(self.num_rounds, self.scalars)

    @property
    def entry_dtype(self) -> np.dtype[np.void]:
        """The dtype of this run's entries."""
        return self.sizes.entry_dtype


def to_json(header: Header) -> dict[str, Any]:
    """Return the header as a JSON object, the inverse of `from_json`."""
    fields = {field.name: getattr(header, field.name) for field in dataclasses.fields(header)}
    sizes = dataclasses.asdict(header.sizes)
    return {**fields, "config": cfg.to_mapping(header.config), "scalars": list(header.scalars), "sizes": sizes}


def from_json(mapping: Mapping[str, Any]) -> Header:
    """Build a Header from the result of `to_json`; further keys are ignored."""
    names = [field.name for field in dataclasses.fields(Header)]
    fields = {name: mapping[name] for name in names}
    fields["config"] = cfg.from_mapping(fields["config"])
    fields["scalars"] = tuple(fields["scalars"])
    columns = tuple((name, kind, tuple(shape)) for name, kind, shape in fields["sizes"]["columns"])
    sizes: dict[str, Any] = {**fields["sizes"], "columns": columns}
    fields["sizes"] = Sizes(**sizes)
    return Header(**fields)


def refuse_other_schema(path: Path, version: int) -> None:
    """Raise RunFileError unless a file's schema version is this gamaml's."""
    if version != SCHEMA_VERSION:
        newer = version > SCHEMA_VERSION
        remedy = "update gamaml to read it" if newer else "run it again, or read it with the gamaml that wrote it"
        raise RunFileError(
            f"{path}: expected schema_version {SCHEMA_VERSION}, got {version}, written by "
            f"{'a newer' if newer else 'an older, never released'} gamaml; {remedy}"
        )


def refuse_differences(path: Path, old: Header, new: Header, *, accept_versions: bool) -> None:
    """Raise RunFileError, with all differences, if `new` would not continue the run that `old` began.

    Args:
        path: the run file, for the message.
        old: the journal's header, with the versions of the latest start.
        new: this start's header.
        accept_versions: whether other library versions are accepted.
    """
    changed = _differences(_science(old), _science(new))
    if changed:
        raise RunFileError(
            f"{path}: expected the experiment that the run began with, got {changed}; "
            "undo the change, or start a new run under another name"
        )
    changed = _differences(old.versions, new.versions)
    if changed and not accept_versions:
        raise RunFileError(
            f"{path}: expected the library versions that the run used so far, got {changed}; install those, "
            "or continue with --accept-versions (results may differ in the last bits; the change is recorded)"
        )


def _science(header: Header) -> dict[str, Any]:
    """Return everything that defines the children, as JSON values by dotted name."""
    # The sizes of gamaml's own strategies follow from the config; those of the user's may change with its code.
    sizes = {} if header.config.custom is None else dataclasses.asdict(header.sizes)
    return {
        **cfg.science(header.config),
        **{f"sizes.{name}": value for name, value in sizes.items()},
        "num_params": header.num_params,
        "num_rounds": header.num_rounds,
        "scalars": list(header.scalars),
        "metric": header.metric,
        "noise digest": header.noise_digest,
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    # Compared as JSON: NaN equals itself, and True is not 1.
    def text(mapping: Mapping[str, Any], name: str) -> str:
        return json.dumps(mapping[name]) if name in mapping else "unset"

    names = sorted({*old, *new})
    return ", ".join(
        f"{name} = {text(new, name)} (was {text(old, name)})" for name in names if text(old, name) != text(new, name)
    )
