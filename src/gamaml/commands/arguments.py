"""Arguments that several commands share, and the checks of those arguments."""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gamaml.commands.sweep import Sweep, parse_envs
from gamaml.errors import ConfigError, check_file_name


def add_sweep(parser: argparse.ArgumentParser, configs: str = "+") -> None:
    """Add the arguments of a sweep and of its folder.

    Args:
        parser: a command's parser.
        configs: how many config files it takes, as argparse writes it.
    """
    parser.add_argument(
        "configs",
        metavar="CONFIG.toml",
        type=Path,
        nargs=configs,
        help="the config; several run side by side, which keeps the cores busy while one waits for its last episodes",
    )
    parser.add_argument(
        "--seeds", metavar="SEEDS", help="run each config once per seed, side by side, e.g. 0-9 or 1,4,10-12"
    )
    parser.add_argument(
        "--envs",
        metavar="ENVS",
        help="run each config once per environment: ids, or the part that differs from its own, e.g. Amidar,Assault",
    )
    add_overrides(parser, "override an entry of the config by its dotted name, e.g. policy.hidden=[32,32]; repeatable")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs"), help="folder of run files (default: runs)"
    )


def sweep_of(args: argparse.Namespace) -> Sweep:
    """Return the sweep that the arguments ask for.

    Raises:
        ConfigError: seeds or environments are of another form.
    """
    return Sweep(
        paths=tuple(args.configs),
        overrides=tuple(args.set),
        envs=parse_envs(args.envs) if args.envs is not None else (),
        seeds=tuple(parse_seeds(args.seeds)) if args.seeds is not None else (),
    )


def add_overrides(parser: argparse.ArgumentParser, text: str) -> None:
    """Add --set, with a help text."""
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help=text)


def add_run_file(parser: argparse.ArgumentParser) -> None:
    """Add the run file that a command reads."""
    parser.add_argument("run", metavar="RUN.h5", type=Path, help="the run file")


def add_who(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a child, a contender or the incumbent."""
    parser.add_argument(
        "--generation", metavar="G", type=int, help="from 0; for --incumbent the last finished one by default"
    )
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--index", metavar="I", type=int, help="the child I")
    who.add_argument("--contender", metavar="C", type=int, help="the re-evaluated contender C")
    who.add_argument("--incumbent", action="store_true", help="the incumbent that the generation selected")


def check_who(args: argparse.Namespace) -> None:
    """Refuse a child or a contender without a generation."""
    if not args.incumbent and args.generation is None:
        raise ConfigError("--generation: expected with --index and --contender, got none; add e.g. --generation 12")


def check_out(out: Path) -> None:
    """Refuse a folder that cannot be made or written to, before any work is done for it."""
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise ConfigError(f"--out {str(out)!r}: expected a folder, got a file {str(existing)!r}; choose another")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(
            f"--out {str(out)!r}: expected a folder to write to, got {str(existing)!r} without permission; "
            "choose another"
        )


def check_name(name: str) -> str:
    """Return the value of --name, after refusing one that names no visible file of the folder."""
    if not name or name != Path(name).name or name.startswith("."):
        raise ConfigError(
            f"--name {name!r}: expected a file name without a folder or a leading dot, got {name!r}; choose another, "
            "and use --out for the folder"
        )
    return name


def run_files(paths: Sequence[Path]) -> list[Path]:
    """Return run files, with those of a folder in its place, in the order of the numbers in their names.

    Raises:
        ConfigError: a file is not there, or a folder has none.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            # A journal alone will do, as for `check_exists`.
            inside = {each.with_suffix(".h5") for suffix in ("h5", "run") for each in path.glob(f"*.{suffix}")}
            if not inside:
                raise ConfigError(f"{str(path)!r}: expected run files NAME.h5 in this folder, got none; check the path")
            found += sorted(inside, key=_natural)
        else:
            check_exists(path)
            found.append(path)
    return found


def check_exists(run: Path) -> None:
    """Refuse a run file that is not there; its journal alone will do, since a lost file is read from it."""
    if not run.is_file() and not run.with_suffix(".run").is_dir():
        raise ConfigError(f"run file {str(run)!r}: expected a file NAME.h5, got none there; check the path")


def check_picture(path: Path | None) -> None:
    """Refuse a value of --plot that cannot be written."""
    if path is not None:
        check_file_name("--plot", path, [".png"])


def parse_seeds(text: str) -> list[int]:
    """Read seeds like "0-9" or "1,4,10-12", in the order given.

    Raises:
        ConfigError: it is of another form, a range is empty, or a seed comes twice.
    """
    return _parse_numbers("--seeds", "seed", text)


def parse_rounds(text: str) -> list[int]:
    """Read numbers of inner rounds like "0-10" or "0,1,5,10", in ascending order.

    Raises:
        ConfigError: as `parse_seeds`.
    """
    return sorted(_parse_numbers("--rounds", "round", text))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts seed2 before seed10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.stem)]


def _parse_numbers(option: str, noun: str, text: str) -> list[int]:
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise ConfigError(f"{option} {text!r}: expected {noun}s like 0-9 or 1,4,10-12, got {part!r}; correct it")
        if dash and int(last) < int(first):
            raise ConfigError(f"{option} {text!r}: expected the lower {noun} first, got {part!r}; turn it round")
        numbers += range(int(first), int(last or first) + 1)
    double = next((number for number, count in Counter(numbers).items() if count > 1), None)
    if double is not None:
        raise ConfigError(f"{option} {text!r}: expected each {noun} once, got {double} twice; leave one out")
    return numbers
