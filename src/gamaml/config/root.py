"""The config: frozen dataclasses, read from TOML or built in Python, with every mistake told in one line."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gamaml.errors import ConfigError, did_you_mean

INITIAL_STD = 1.0
"""A generation-0 child is `initial(noise)`; this std is what its lineage entry records."""

STRATEGIES = ("ga", "es", "maml", "random")

CONVOLUTIONAL = ("nature", "ga-dist")

MEMORIES = ("gru", "tcn")
"""The networks that remember the steps of an episode."""

NETWORKS = ("mlp", *CONVOLUTIONAL, *MEMORIES)

LEARNERS = ("reinforce", "actor_critic")
GENES = ("discount", "gae_lambda")

ADDED: Mapping[str, bool] = {"added": True}
"""Metadata of a name that runs from before it existed do not have; its default is what they did. The default is left
out of the config's mapping, so that their digests are what they were, and they can be resumed."""

MAX_NOISE_SIZE = 2**32
"""Entries; the draw of an offset is as good as uniform up to here."""


@dataclass(frozen=True)
class TaskConfig:
    """What is meta-learned.

    Attributes:
        name: a ready-made task (see `gamaml tasks`), or a class of your own as "my_module:MyTask".
        settings: keyword arguments of the task; in TOML, the other keys of [task].
    """

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class EnvConfig:
    """An environment by its id, in place of a task, and what is done about the episodes of host environments.

    Attributes:
        id: "CartPole-v1", "Ant-v5" (Gymnasium); "ALE/Frostbite-v5" (Atari, as DeepMind configures it);
            "gym:CartPole-v1" (gym 0.26); "module:Id-v0" where importing the module registers the id; in a
            process of its own also "module:Class".
        settings: keyword arguments of the environment; in TOML below [env.settings].
        python: interpreter that hosts the environment in a process of its own; "" for the one that runs gamaml.
        isolate: whether that process is also made for the interpreter that runs gamaml, so that a crash can be marked.
        max_steps: steps after which an episode is cut, besides the environment's own limit.
        cut_is_fault: whether an episode that is cut by `max_steps` is a fault.
        on_fault: what happens when an environment raises, gives a number that is not finite, or crashes in a process
            of its own. "stop": the job ends and says where. "mark": the child gets a flag and is never selected.
        max_seconds: an episode that takes longer always ends the job; to mark it would let the machine's speed decide.
        normalise_steps: random steps, from which means and stds of the observations are taken once; observations
            are then given as (observation - mean) / std, clipped to [-5, 5]. 0: as they are.
    """

    id: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    python: str = ""
    isolate: bool = False
    max_steps: int | None = None
    cut_is_fault: bool = False
    on_fault: str = "stop"
    max_seconds: float | None = None
    normalise_steps: int = 0


@dataclass(frozen=True)
class PolicyConfig:
    """The network, for tasks that do not bring their own parameters.

    Attributes:
        network: "mlp"; for Atari also "nature" (Mnih et al. 2015, as Such et al. 2017 use it) and "ga-dist"; for
            reinforcement learning in JAX without inner updates also two with memory: "gru" (gated recurrent units) and
            "tcn" (causal dilated convolutions over the last 2^len(hidden) steps).
        hidden: width of each hidden layer; of a "gru" the units, of a "tcn" the channels.
        sampled: for host environments without inner updates, whether actions are drawn: Gaussian with `std`, or by
            softmax where they are discrete. Otherwise they always are.
        activation: "relu" or "tanh".
        std: initial standard deviation of a Gaussian policy's actions; 0, with std_gene = false and without inner
            updates: the action is the mean.
        std_gene: whether the GA also evolves the (log) std.
        output_scale: factor on the initial weights of the last layer.
    """

    network: str = "mlp"
    hidden: tuple[int, ...] = (100, 100)
    sampled: bool = False
    activation: str = "relu"
    std: float = 0.5
    std_gene: bool = True
    output_scale: float = 0.01


@dataclass(frozen=True)
class InnerConfig:
    """The inner loop: `rounds` of (collect `episodes` -> one gradient update).

    Attributes:
        rounds: number of updates; 0 is the plain deep GA.
        num_tasks: tasks per evaluation; fitness is the mean over them.
        episodes: trajectories collected per task and round.
        learner: what an update of a policy descends: "reinforce", "actor_critic" (GAE, with a value network of its own
            among the evolved parameters), or a loss of your own as "my_module:my_loss".
        optimiser: "sgd" or "adam".
        step_size: step size of the update; the initial value where it is a gene.
        step_size_decay: factor on the step size from one update of a task to the next; 1: none. Many rounds with steps
            that were learned for few can diverge without.
        step_size_gene: "none" (fixed), "global" (one evolved log step size), "layer" (one per parameter array) or
            "parameter" (one per parameter).
        discount: discount factor of the reward-to-go in the gradient; the reported return is undiscounted.
        gae_lambda: of "actor_critic": 0 trusts its value network, 1 the rewards.
        genes: which of "discount" and "gae_lambda" are evolved too, as their log odds.
        baseline: what "reinforce" compares a reward-to-go with: "mean" (of the episodes at the same step) or "linear"
            (a ridge regression on the observations and the time, fitted to every batch).
        normalise_advantages: whether advantages are scaled to mean 0 and std 1 per update.
        share_tasks: True: all children of a generation meet the same tasks; False: each draws its own.
        batch_size: children evaluated together by one compiled program, which pays where a child costs little, as
            with few episodes and 0 rounds. Part of the science, since programs of different sizes round
            differently; a child's result does not depend on the others of its batch.
    """

    rounds: int = 1
    num_tasks: int = 8
    episodes: int = 20
    learner: str = field(default="reinforce", metadata=ADDED)
    optimiser: str = field(default="sgd", metadata=ADDED)
    step_size: float = 0.1
    step_size_decay: float = field(default=1.0, metadata=ADDED)
    step_size_gene: str = "none"
    discount: float = 0.99
    gae_lambda: float = field(default=0.95, metadata=ADDED)
    genes: tuple[str, ...] = field(default=(), metadata=ADDED)
    baseline: str = field(default="mean", metadata=ADDED)
    normalise_advantages: bool = True
    share_tasks: bool = True
    batch_size: int = 1


@dataclass(frozen=True)
class EliteConfig:
    """How the elite is chosen (Such et al. 2017, Algorithm 1; the previous elite is re-evaluated too).

    Attributes:
        candidates: the previous elite and the best candidates-1 children; 0 keeps no elite, 1 is refused.
        episodes: fresh evaluations of each candidate; the best mean is the elite.
    """

    candidates: int = 10
    episodes: int = 30


@dataclass(frozen=True)
class GAConfig:
    """Truncation selection (Such et al. 2017).

    Attributes:
        population_size: children per generation.
        num_parents: parents that survive truncation, the elite among them.
        recombine: parents of a child, drawn without repetition, whose mean is mutated; 1 as in Such et al.
        mutation_std: std of the mutation, in units of the noise table's standard normals.
        mutation_std_final: where the std ends; equal to `mutation_std` when None.
        mutation_std_generations: generations over which the std goes exponentially from first to last.
        mutation_scale: "uniform", or "fan_in": a weight matrix's std is divided by sqrt(fan_in / 10) where
            fan_in > 10.
        gene_scale: factor on the std of the genes (log step sizes, log action std).
    """

    population_size: int = 200
    num_parents: int = 20
    recombine: int = field(default=1, metadata=ADDED)
    mutation_std: float = 0.05
    mutation_std_final: float | None = None
    mutation_std_generations: int = 100
    mutation_scale: str = "uniform"
    gene_scale: float = 2.0
    elite: EliteConfig = field(default_factory=EliteConfig)


@dataclass(frozen=True)
class ESConfig:
    """Evolution strategies (Salimans et al. 2017), with strategy = "es".

    `ga.mutation_scale` and `ga.gene_scale` hold here too: they scale the parameters that the noise is added to.

    Attributes:
        population_size: children per generation, in mirrored pairs.
        std: std of the perturbation, in units of the noise table's standard normals.
        std_final: where the std ends; equal to `std` when None.
        step_size: step size of Adam.
        step_size_final: where the step size ends; equal to `step_size` when None.
        decay_generations: generations over which std and step size go exponentially from first to last.
        beta1, beta2: decay of Adam's moments.
        weight_decay: factor on the parameters that is subtracted from the gradient.
        episodes: fresh evaluations of the centre in every generation, which only report.
    """

    population_size: int = 200
    std: float = 0.05
    std_final: float | None = None
    step_size: float = 0.02
    step_size_final: float | None = None
    decay_generations: int = 100
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    episodes: int = 8


@dataclass(frozen=True)
class MAMLConfig:
    """Gradient MAML (Finn et al. 2017), with strategy = "maml": one meta-update per generation, on one rank.

    The tasks of an update are those of [inner]; the log step sizes and the log action std, where they are genes, are
    learned too (Meta-SGD, Li et al. 2017).

    Attributes:
        step_size: step size of Adam.
        first_order: whether the gradients of the inner updates count as constants.
    """

    step_size: float = 1e-3
    first_order: bool = False


@dataclass(frozen=True)
class StopConfig:
    """When the run ends: at the first criterion met. May change on resume.

    Attributes:
        generations: after this many generations.
        environment_steps: after the generation in which this many steps were consumed in total.
        fitness: after the generation whose elite reaches this fitness.
        seconds: after the generation that ends this long after the start of this job.
    """

    generations: int | None = None
    environment_steps: int | None = None
    fitness: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class NoiseConfig:
    """The noise table.

    Attributes:
        size: float32 entries; 2**28 is 1 GiB per node.
        seed: seed of the table's content, independent of the run's seed.
    """

    size: int = 2**28
    seed: int = 42


@dataclass(frozen=True)
class Config:
    """Everything that defines a run; either `task.name` or `env.id` says of what.

    Attributes:
        strategy: "ga", "es", "maml", or "random": the population of [ga], but every child from the root; or a class of
            your own as "my_module:MyStrategy".
        es: settings of "es"; None with another strategy.
        maml: settings of "maml"; None with another strategy.
        custom: settings of a strategy of your own, the keyword arguments of its class.
    """

    task: TaskConfig
    stop: StopConfig
    seed: int = 1
    env: EnvConfig = field(default_factory=EnvConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    inner: InnerConfig = field(default_factory=InnerConfig)
    ga: GAConfig = field(default_factory=GAConfig)
    strategy: str = field(default="ga", metadata=ADDED)
    es: ESConfig | None = field(default=None, metadata=ADDED)
    maml: MAMLConfig | None = field(default=None, metadata=ADDED)
    custom: Mapping[str, Any] = field(default_factory=dict[str, Any])
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def __post_init__(self) -> None:
        # A section of another strategy would be part of the run's science without being used.
        object.__setattr__(self, "es", (self.es or ESConfig()) if self.strategy == "es" else None)
        object.__setattr__(self, "maml", (self.maml or MAMLConfig()) if self.strategy == "maml" else None)
        _validate(self)

    @property
    def population_size(self) -> int:
        """Children per generation, with whatever strategy."""
        if self.maml is not None:
            return 1
        return self.ga.population_size if self.es is None else self.es.population_size

    @property
    def subject(self) -> str:
        """The task's name or the environment's id."""
        return self.task.name or self.env.id


SCIENCE_FREE = ("stop", "env.python", "env.max_seconds")
"""What may change on resume, because a child's fate does not depend on it: sections and dotted names."""


def load(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML config.

    Args:
        path: the file.
        overrides: `dotted.name=value` strings, values in TOML syntax; a bare word is taken as a string.

    Raises:
        ConfigError: naming subject, expected, got and remedy in one line.
    """
    path = Path(path)
    name = f"config {str(path)!r}"
    try:
        mapping = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError(f"{name}: expected a TOML file, got no such file; check the path") from None
    except OSError as error:
        raise ConfigError(f"{name}: expected a readable file, got: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: expected UTF-8 text, got: {error}; save it as UTF-8") from None
    # ValueError: tomllib lets Python's refusal of integers with thousands of digits through.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{name}: expected valid TOML, got: {error}; correct the file") from None
    return from_mapping(mapping, overrides=overrides)


def from_mapping(mapping: Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """Build a Config from nested mappings such as TOML gives. Raises ConfigError like `load`."""
    merged: dict[str, Any] = _copy(mapping)
    for override in overrides:
        _apply(merged, override)
    return _build(Config, merged, "")


def to_mapping(config: Config) -> dict[str, Any]:
    """Return the config as nested dicts, the inverse of `from_mapping`; None entries are left out."""

    def plain(value: Any) -> Any:  # any config value
        if isinstance(value, TaskConfig):
            return {"name": value.name, **{key: plain(item) for key, item in value.settings.items()}}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if not _is_old(value, f))
            return {name: plain(item) for name, item in pairs if item is not None and item != TaskConfig()}
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in typing.cast(Mapping[str, Any], value).items()}
        if isinstance(value, tuple | list):
            return [plain(item) for item in typing.cast(Sequence[Any], value)]
        return value

    return plain(config)


def _is_old(section: Any, entry: dataclasses.Field[Any]) -> bool:  # any dataclass of the config
    return "added" in entry.metadata and getattr(section, entry.name) == entry.default


def to_json(config: Config) -> str:
    """Return the config as canonical JSON: sorted keys, no blanks."""
    return json.dumps(to_mapping(config), sort_keys=True, separators=(",", ":"))


def science(config: Config) -> dict[str, Any]:
    """Return the part of the config that decides what every child is, as a flat mapping of dotted names."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:  # any config value
        if isinstance(value, dict):
            for key, item in typing.cast(dict[str, Any], value).items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        else:
            flat[prefix] = value

    walk("", to_mapping(config))
    return {name: value for name, value in flat.items() if not _is_free(name)}


def _is_free(name: str) -> bool:
    return any(name == free or name.startswith(f"{free}.") for free in SCIENCE_FREE)


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


def mutation_std(config: GAConfig, generation: int) -> float:
    """Return the mutation std of a generation: constant, or exponential between its two ends."""
    return decayed(config.mutation_std, config.mutation_std_final, config.mutation_std_generations, generation)


def decayed(first: float, last: float | None, generations: int, generation: int) -> float:
    """Return what stands at `first` at generation 0 and goes exponentially to `last`, if there is one."""
    if last is None:
        return first
    return first * (last / first) ** min(generation / generations, 1.0)


def seconds_left(
    stop: StopConfig, *, generations: int, total_steps: int, steps: int, pace: float, elapsed: float | None
) -> float:
    """Estimate the seconds to the end of a run, by the criterion that comes first; NaN where none can be estimated.

    Args:
        stop: its criteria.
        generations: generations so far.
        total_steps: environment steps so far.
        steps: environment steps of the latest generation.
        pace: seconds per generation.
        elapsed: seconds since the start of the job, None outside it.
    """
    estimates: list[float] = []
    if stop.generations is not None:
        estimates.append((stop.generations - generations) * pace)
    if stop.environment_steps is not None and steps:
        estimates.append((stop.environment_steps - total_steps) / steps * pace)
    if stop.seconds is not None and elapsed is not None:
        estimates.append(stop.seconds - elapsed)
    return max(0.0, min(estimates)) if estimates else math.nan


def _copy(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copy(typing.cast(Mapping[str, Any], value)) if isinstance(value, Mapping) else value
        for key, value in mapping.items()
    }


def _apply(mapping: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    name = name.strip()
    *sections, last = name.split(".")
    if not equals or not all((*sections, last)):
        raise ConfigError(
            f"--set {override!r}: expected NAME=VALUE with a dotted name; write e.g. ga.mutation_std=0.01"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()
    for depth, section in enumerate(sections):
        inner = mapping.setdefault(section, {})
        if not isinstance(inner, dict):
            before = ".".join(sections[: depth + 1])
            raise ConfigError(f"--set {name}: expected {before} to be a section, got a value; set {before} itself")
        mapping = typing.cast(dict[str, Any], inner)
    mapping[last] = value


def _build(cls: type[Any], mapping: Any, prefix: str) -> Any:  # one frozen dataclass from untyped TOML
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{prefix}: expected a section [{prefix}], got {mapping!r}; write its keys below [{prefix}]")
    items = dict(typing.cast(Mapping[str, Any], mapping))
    if cls is TaskConfig:
        name = items.pop("name", None)
        if not isinstance(name, str) or not name:
            raise ConfigError(f'task.name: expected a task, got {name!r}; write e.g. name = "navigation" below [task]')
        return TaskConfig(name=name, settings=items)
    hints = typing.get_type_hints(cls)
    for key in items:
        if key not in hints:
            kind = "name" if prefix else "section or name"
            raise ConfigError(f"{_dotted(prefix, key)}: unknown {kind}; {did_you_mean(key, hints)}")
    if cls is Config and "task" not in items and "env" not in items:
        raise ConfigError(
            'task: expected a section [task] or [env], got neither; add it with e.g. name = "navigation", or '
            'id = "CartPole-v1"'
        )
    if cls is Config and "stop" not in items:
        raise ConfigError("stop: expected a section [stop], got none; add it with e.g. generations = 30")
    values = {key: _value(hints[key], value, _dotted(prefix, key)) for key, value in items.items()}
    if cls is Config:
        values.setdefault("task", TaskConfig())
    return cls(**values)


def _dotted(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _value(hint: Any, value: Any, name: str) -> Any:  # `hint` is a type, `value` comes from TOML
    if isinstance(hint, types.UnionType):
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type[Any], hint), value, name)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ConfigError(f"{name}: expected a list such as [100, 100], got {value!r}; put it in brackets")
        entries = typing.cast(Sequence[Any], value)
        return tuple(_value(typing.get_args(hint)[0], entry, f"{name}[{i}]") for i, entry in enumerate(entries))
    if typing.get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name}: expected a section [{name}], got {value!r}; write its keys below [{name}]")
        return dict(typing.cast(Mapping[str, Any], value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        words = {int: "an integer", float: "a number", bool: "true or false", str: "a string in quotes"}
        raise ConfigError(f"{name}: expected {words[hint]}, got {value!r}; change its type")
    return value


def _validate(config: Config) -> None:
    for key, value in config.task.settings.items():
        _check_setting(f"task.{key}", value)
    for key, value in config.env.settings.items():
        _check_setting(f"env.settings.{key}", value)
    if bool(config.task.name) is bool(config.env.id):
        got = f"both, {config.task.name!r} and {config.env.id!r}" if config.env.id else "neither"
        raise ConfigError(f"task.name, env.id: expected one of them, got {got}; say what is to be learned by one")
    _at_least("seed", config.seed, 0)
    _at_least("noise.seed", config.noise.seed, 0)
    _at_least("noise.size", config.noise.size, 1)
    if config.noise.size > MAX_NOISE_SIZE:
        raise ConfigError(
            f"noise.size={config.noise.size}: expected at most {MAX_NOISE_SIZE} entries (16 GiB); choose fewer"
        )
    _validate_env(config.env)
    _validate_policy(config.policy)
    _validate_std(config.policy, config.inner)
    _validate_memory(config.policy, config.inner)
    _validate_inner(config.inner)
    _validate_ga(config.ga)
    _validate_elite(config.ga)
    if ":" not in config.strategy:
        _one_of("strategy", config.strategy, STRATEGIES)
        if config.custom:
            raise ConfigError(
                f'custom: expected only with a strategy of your own, "my_module:MyStrategy", got '
                f"strategy={config.strategy!r}; remove the section"
            )
    for key, value in config.custom.items():
        _check_setting(f"custom.{key}", value)
    if config.es is not None:
        _validate_es(config.es)
    if config.maml is not None:
        _validate_maml(config.maml, config.inner)
    if config.strategy == "random" and config.ga.elite.candidates == 0:
        raise ConfigError(
            'ga.elite.candidates=0: expected at least 2 with strategy = "random", which keeps nothing but the elite; '
            "choose e.g. 2"
        )
    _validate_stop(config.stop)


def _validate_env(env: EnvConfig) -> None:
    for name in ("settings", "python", "isolate"):
        if not env.id and getattr(env, name):
            raise ConfigError(
                f"env.{name}: expected only with env.id, since a task makes its own environments; remove it"
            )
    _at_least("env.max_steps", env.max_steps, 1)
    _above_zero("env.max_seconds", env.max_seconds)
    _at_least("env.normalise_steps", env.normalise_steps, 0)
    _one_of("env.on_fault", env.on_fault, ("stop", "mark"))
    if env.cut_is_fault and env.max_steps is None:
        raise ConfigError("env.cut_is_fault=true: expected env.max_steps with it, got none; add it")


def _validate_policy(policy: PolicyConfig) -> None:
    for i, width in enumerate(policy.hidden):
        _at_least(f"policy.hidden[{i}]", width, 1)
    _one_of("policy.network", policy.network, NETWORKS)
    _one_of("policy.activation", policy.activation, ("relu", "tanh"))
    _above_zero("policy.output_scale", policy.output_scale)
    for name in ("hidden", "activation", "output_scale"):
        value, default = getattr(policy, name), getattr(PolicyConfig, name)
        if policy.network in CONVOLUTIONAL and value != default:
            raise ConfigError(
                f"policy.{name}={value!r}: expected only with other networks, since {policy.network!r} has "
                "layers and initial weights of its own; leave it out"
            )
    if policy.network in MEMORIES and not policy.hidden:
        raise ConfigError(
            f"policy.hidden=[]: expected at least one layer with policy.network={policy.network!r}; write e.g. [32]"
        )


def _validate_std(policy: PolicyConfig, inner: InnerConfig) -> None:
    if policy.std != 0:
        _above_zero("policy.std", policy.std)
    elif policy.std_gene:
        raise ConfigError(
            "policy.std=0.0: expected a number above 0, since its logarithm is evolved; add std_gene = false"
        )
    elif inner.rounds > 0:
        raise ConfigError(
            f"policy.std=0.0: expected a number above 0 with inner.rounds={inner.rounds}, since policy gradients "
            "need random actions; choose e.g. 0.5"
        )


def _validate_memory(policy: PolicyConfig, inner: InnerConfig) -> None:
    if policy.network in MEMORIES and inner.rounds > 0:
        raise ConfigError(
            f"inner.rounds={inner.rounds}: expected 0 with policy.network={policy.network!r}, which adapts by its "
            'memory in place of updates; set rounds = 0, or choose "mlp"'
        )


def _validate_inner(inner: InnerConfig) -> None:
    _at_least("inner.rounds", inner.rounds, 0)
    _at_least("inner.num_tasks", inner.num_tasks, 1)
    _at_least("inner.episodes", inner.episodes, 1)
    _at_least("inner.batch_size", inner.batch_size, 1)
    _above_zero("inner.step_size", inner.step_size)
    if not 0 < inner.step_size_decay <= 1:
        raise ConfigError(
            f"inner.step_size_decay={inner.step_size_decay}: expected a number above 0 and at most 1; choose e.g. 0.7"
        )
    _one_of("inner.step_size_gene", inner.step_size_gene, ("none", "global", "layer", "parameter"))
    if ":" not in inner.learner:
        _one_of("inner.learner", inner.learner, LEARNERS)
    _one_of("inner.optimiser", inner.optimiser, ("sgd", "adam"))
    _one_of("inner.baseline", inner.baseline, ("mean", "linear"))
    if inner.learner == "actor_critic" and inner.baseline != "mean":
        raise ConfigError(
            f'inner.baseline={inner.baseline!r}: expected none with learner = "actor_critic", whose value network is '
            "its baseline; leave it out"
        )
    if inner.learner == "reinforce" and "gae_lambda" in inner.genes:
        raise ConfigError(
            "inner.genes: expected 'gae_lambda' with learner = \"actor_critic\" only, got it with 'reinforce', which "
            "has none; leave it out"
        )
    if not 0 < inner.discount <= 1:
        raise ConfigError(f"inner.discount={inner.discount}: expected 0 < discount <= 1; choose e.g. 0.99")
    if not 0 <= inner.gae_lambda <= 1:
        raise ConfigError(f"inner.gae_lambda={inner.gae_lambda}: expected 0 to 1; choose e.g. 0.95")
    for i, gene in enumerate(inner.genes):
        _one_of(f"inner.genes[{i}]", gene, GENES)
        value = getattr(inner, gene)
        if not 0 < value < 1:
            raise ConfigError(
                f"inner.{gene}={value}: expected a number between 0 and 1, since its log odds are evolved; "
                f"choose e.g. 0.95, or leave {gene!r} out of inner.genes"
            )


def _validate_ga(ga: GAConfig) -> None:
    _at_least("ga.population_size", ga.population_size, 1)
    _at_least("ga.num_parents", ga.num_parents, 1)
    _at_most_population("ga.num_parents", ga.num_parents, ga)
    _at_least("ga.recombine", ga.recombine, 1)
    if ga.recombine > ga.num_parents:
        raise ConfigError(
            f"ga.recombine={ga.recombine} exceeds ga.num_parents={ga.num_parents}; choose at most {ga.num_parents}"
        )
    _above_zero("ga.mutation_std", ga.mutation_std)
    _above_zero("ga.mutation_std_final", ga.mutation_std_final)
    _at_least("ga.mutation_std_generations", ga.mutation_std_generations, 1)
    _one_of("ga.mutation_scale", ga.mutation_scale, ("uniform", "fan_in"))
    _above_zero("ga.gene_scale", ga.gene_scale)


def _validate_elite(ga: GAConfig) -> None:
    _at_least("ga.elite.candidates", ga.elite.candidates, 0)
    _at_least("ga.elite.episodes", ga.elite.episodes, 1)
    if ga.elite.candidates == 1:
        raise ConfigError(
            "ga.elite.candidates=1: expected 0 or at least 2, since 1 would re-evaluate the old elite alone; "
            "choose 0 (no elite) or 2"
        )
    _at_most_population("ga.elite.candidates", ga.elite.candidates, ga)


def _validate_es(es: ESConfig) -> None:
    _at_least("es.population_size", es.population_size, 2)
    if es.population_size % 2:
        raise ConfigError(
            f"es.population_size={es.population_size}: expected an even number, since children come in mirrored pairs; "
            f"choose {es.population_size + 1}"
        )
    for name in ("std", "std_final", "step_size", "step_size_final"):
        _above_zero(f"es.{name}", getattr(es, name))
    _at_least("es.decay_generations", es.decay_generations, 1)
    for name in ("beta1", "beta2"):
        value = getattr(es, name)
        if not 0 <= value < 1:
            raise ConfigError(f"es.{name}={value}: expected 0 <= {name} < 1; choose e.g. {getattr(ESConfig, name)}")
    _at_least("es.weight_decay", es.weight_decay, 0)
    _at_least("es.episodes", es.episodes, 1)


def _validate_maml(maml: MAMLConfig, inner: InnerConfig) -> None:
    _above_zero("maml.step_size", maml.step_size)
    if inner.rounds == 0:
        raise ConfigError(
            'inner.rounds=0: expected at least 1 with strategy = "maml", which learns through updates; choose e.g. 1'
        )
    if inner.genes:
        raise ConfigError(
            f'inner.genes={list(inner.genes)}: expected none with strategy = "maml", since no gradient passes through '
            'advantages; leave them out, or choose strategy = "es"'
        )
    if inner.optimiser == "adam" and not maml.first_order:
        raise ConfigError(
            "inner.optimiser='adam': expected 'sgd' with maml.first_order = false, since Adam's root has no derivative "
            "where a gradient is 0; set first_order = true, or choose 'sgd'"
        )


def _validate_stop(stop: StopConfig) -> None:
    if all(getattr(stop, f.name) is None for f in dataclasses.fields(stop)):
        raise ConfigError("stop: expected at least one criterion, got none; add e.g. generations = 30 below [stop]")
    _at_least("stop.generations", stop.generations, 1)
    _at_least("stop.environment_steps", stop.environment_steps, 1)
    _above_zero("stop.seconds", stop.seconds)
    if stop.fitness is not None and math.isnan(stop.fitness):
        raise ConfigError("stop.fitness=nan: expected a number; remove it or choose a target")


def _at_least(name: str, value: float | None, minimum: float) -> None:
    if value is not None and not value >= minimum:
        raise ConfigError(f"{name}={value}: expected at least {minimum}; choose a larger value")


def _at_most_population(name: str, value: int, ga: GAConfig) -> None:
    if value > ga.population_size:
        raise ConfigError(
            f"{name}={value} exceeds ga.population_size={ga.population_size}; choose at most {ga.population_size}"
        )


def _above_zero(name: str, value: float | None) -> None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise ConfigError(f"{name}={value}: expected a finite number above 0; choose a positive value")


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{name}={value!r}: unknown; {did_you_mean(value, known)}")


def _check_setting(name: str, value: Any) -> None:  # any entry of a TOML file
    """Refuse what a run file could not store; TOML has dates, JSON does not."""
    if isinstance(value, Mapping):
        for key, item in typing.cast(Mapping[str, Any], value).items():
            _check_setting(f"{name}.{key}", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(typing.cast(Sequence[Any], value)):
            _check_setting(f"{name}[{index}]", item)
    elif not isinstance(value, bool | int | float | str):
        raise ConfigError(
            f"{name}: expected a number, a string, true or false, a list or a section, got a "
            f"{type(value).__name__}; write it as a string"
        )
