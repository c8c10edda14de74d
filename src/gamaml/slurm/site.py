"""The facts of a cluster that a job script needs, read from one small env file per site."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gamaml.errors import ConfigError, did_you_mean

_PREFIX = "SITE_"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Site:
    """The facts of a cluster; the scheduler's defaults apply where a site file gives none.

    Attributes:
        source: the file, for messages; "" without one.
        launch: the launcher of the ranks in a job, with its options: srun, or the mpiexec of the MPI that gamaml uses.
        partition: SITE_PARTITION.
        account: SITE_ACCOUNT; a personal account is better given as `gamaml submit --account`.
        sbatch: further options of sbatch, such as --exclusive.
        modules: modules to load, in this order, after `module purge`; if empty, modules are left alone.
        module_init: file that defines the command `module` in a batch shell.
        cores_per_node: ranks per node by default.
        memory_mib: the most memory that a job may ask for on one node, in MiB.
        signal_seconds: seconds before the time limit at which a job gets the signal to checkpoint.
        environment: variables for the ranks: all names in the file that do not start with SITE_.
    """

    source: str = ""
    launch: tuple[str, ...] = ("srun",)
    partition: str = ""
    account: str = ""
    sbatch: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    module_init: str = ""
    cores_per_node: int | None = None
    memory_mib: int | None = None
    signal_seconds: int = 120
    environment: dict[str, str] = field(default_factory=dict[str, str])


_LISTS = ("launch", "sbatch", "modules")
_COUNTS = ("cores_per_node", "memory_mib", "signal_seconds")
_TEXTS = ("partition", "account", "module_init")


def find(name: str, folders: Sequence[Path]) -> Site:
    """Read a site file.

    Args:
        name: a path, or the name of a file NAME.env in one of `folders`.
        folders: the folders to search for names, in this order.

    Raises:
        ConfigError: there is no such file, or it has an unknown name or a wrong value.
    """
    if "/" in name or name.endswith(".env"):
        return read(Path(name))
    for folder in folders:
        if (folder / f"{name}.env").is_file():
            return read(folder / f"{name}.env")
    known = {path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.env")}
    where = " or ".join(str(folder) for folder in folders)
    raise ConfigError(f"--site {name!r}: expected {name}.env in {where}, got none; {did_you_mean(name, known)}")


def read(path: Path) -> Site:
    """Read one site file: lines NAME=VALUE as a shell reads them, blank lines and comments.

    Raises:
        ConfigError: the file is not readable, or has another kind of line.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--site {str(path)!r}: expected a readable file, got: {error}; check the path") from None
    facts: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        pair = _pair(line, where)
        if pair is not None:
            name, value = pair
            if name in facts:
                raise ConfigError(f"{where}: expected {name} once, got it twice; remove one")
            facts[name] = value
    return _site(path, facts)


def _pair(line: str, where: str) -> tuple[str, str] | None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise ConfigError(f"{where}: expected NAME=VALUE, got: {error}; correct the quotes") from None
    if not words:
        return None
    name, equals, value = words[0].partition("=")
    if len(words) > 1 or not equals or not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: expected NAME=VALUE, got {line.strip()!r}; put values with blanks in quotes")
    if "$" in value or "`" in value:
        raise ConfigError(f"{where}: expected a plain value, got {value!r}; site files are not run by a shell")
    return name, value


def _site(path: Path, facts: dict[str, str]) -> Site:
    known = {_PREFIX + name.upper(): name for name in (*_LISTS, *_COUNTS, *_TEXTS)}
    values: dict[str, object] = {}
    environment: dict[str, str] = {}
    for name, value in facts.items():
        if not name.startswith(_PREFIX):
            environment[name] = value
        elif name not in known:
            raise ConfigError(f"{path}: {name}: unknown name; {did_you_mean(name, known)}")
        elif value:
            values[known[name]] = _value(path, name, known[name], value)
    return Site(source=str(path), environment=environment, **values)  # pyright: ignore[reportArgumentType] - checked above


def _value(path: Path, name: str, field_name: str, value: str) -> object:
    if field_name in _LISTS:
        return tuple(shlex.split(value))
    if field_name in _COUNTS:
        if not value.isdecimal() or int(value) < 1:
            raise ConfigError(f"{path}: {name}={value!r}: expected a whole number above 0; correct it")
        return int(value)
    return value
