"""Settings to begin with, for tasks and environments that need other values than the defaults, each with its reason.

They fit two cores. A task with an example has the example's settings.
"""

from __future__ import annotations

from collections.abc import Mapping

from gamaml.config.commented_toml import Choice
from gamaml.envs.make_env import ATARI, ROBOSCHOOL
from gamaml.problems.registry import READY_MADE

Choices = Mapping[str, Choice]

_NOISE = Choice(
    2**22, "16 MiB suffice for a few thousand parameters, and fit the 64 MB of shared memory of a container."
)
_FEW_CHILDREN = Choice(64, "a generation then takes two cores seconds.")
_PARENTS = Choice(8, "an eighth of the children.")

_SMALL: Choices = {
    "ga.population_size": _FEW_CHILDREN,
    "ga.num_parents": _PARENTS,
    "ga.elite.candidates": Choice(4, "in proportion to the population."),
    "ga.elite.episodes": Choice(4, "enough where an evaluation is already a mean over tasks."),
    "stop.generations": Choice(50),
}
"""Settings for a task about which nothing else is known."""

_LEARNED_STEP_SIZES = Choice("layer", "evolved step sizes are nearly always better than a fixed one.")

_NAVIGATION: Choices = {
    "strategy": Choice("multifactorial", "many rounds: a quarter of the distance of any other after equal steps."),
    "policy.hidden": Choice([32, 32], "the paper's [100, 100] learns as well; an evaluation takes five times as long."),
    "policy.std_gene": Choice("round", "explores in the first collections, and cashes in at the last."),
    "inner.rounds": Choice(3, "train with the rounds you report: a policy trained for one round diverges at three."),
    "inner.num_tasks": Choice(1, "a litter of children meets one task and is ranked by itself."),
    "inner.batch_size": Choice(8, "a child on one task takes 2 ms."),
    "inner.step_size_gene": _LEARNED_STEP_SIZES,
    "multifactorial.population_size": Choice(256, "with five rounds and more 128 do as well."),
    "multifactorial.std_final": Choice(0.03, "a large std finds the way, a small one then improves the policy."),
    "ga.mutation_scale": Choice("fan_in", "the 32 x 32 weights need smaller changes than the others."),
    "stop.generations": Choice(100, "a minute and a half of one core."),
    "noise.size": _NOISE,
}

_SINUSOID: Choices = {
    "task.settings": Choice({"shots": 5, "query": 50}),
    "policy.hidden": Choice([40, 40], "as in the paper."),
    "inner.num_tasks": Choice(32, "a task costs little."),
    "inner.batch_size": Choice(8, "1.8 times as fast as one child per call."),
    "inner.step_size": Choice(0.01, "as in the paper; the evolved step sizes start there."),
    "inner.step_size_gene": _LEARNED_STEP_SIZES,
    "ga.population_size": _FEW_CHILDREN,
    "ga.num_parents": _PARENTS,
    "ga.recombine": Choice(4, "the mean of 4 parents: a loss of 0.73 in place of 0.90 after one step."),
    "ga.mutation_std": Choice(0.06, "found with `ga.recombine = 4`."),
    "ga.mutation_std_final": Choice(0.004, "found with `ga.recombine = 4`."),
    "ga.elite.candidates": Choice(2, "a re-evaluation costs as much as a child, and 3,000 generations have many."),
    "ga.elite.episodes": Choice(4, "of 32 tasks."),
    "stop.generations": Choice(3000, "about five minutes of one core."),
    "noise.size": _NOISE,
}

_MEMORY: Choices = {
    "policy.network": Choice("gru", "the policy adapts by its memory; there is no gradient."),
    "policy.hidden": Choice([16], "16 units suffice."),
    "policy.activation": Choice("tanh", "as usual in recurrent networks."),
    "policy.std": Choice(0.0, "the greatest output decides: the best policy needs no dice."),
    "policy.std_gene": Choice(False, "a std of 0 has no logarithm."),
    "policy.output_scale": Choice(1.0, "the first policies may differ widely."),
    "inner.rounds": Choice(0, "memory takes the place of updates."),
    "inner.num_tasks": Choice(
        400, "luck belongs to the task; 400 trials distinguish children that differ in a few pulls."
    ),
    "inner.episodes": Choice(1, "without dice every episode of a task is the same."),
    "inner.batch_size": Choice(32, "1.7 times as fast as one child per call."),
    "ga.population_size": Choice(256, "a child costs little."),
    "ga.num_parents": Choice(16, "a sixteenth of the children."),
    "ga.mutation_std": Choice(0.1, "a large std finds the way."),
    "ga.mutation_std_final": Choice(0.02, "a small one then improves the policy."),
    "ga.mutation_scale": Choice("fan_in", "weights of many inputs need smaller changes."),
    "ga.elite.candidates": Choice(4, "in proportion to the number of parents."),
    "ga.elite.episodes": Choice(10, "of all trials."),
    "stop.generations": Choice(300, "minutes of one core."),
    "noise.size": _NOISE,
}

_RUNNER: Choices = {
    "policy.activation": Choice("tanh", "as usual for continuous actions."),
    "policy.std_gene": Choice(False, "an evolved std shrinks until the updates learn nothing."),
    "inner.num_tasks": Choice(2, "both directions."),
    "inner.step_size_gene": Choice("global", "one evolved step size."),
    "inner.baseline": Choice("linear", "less noise in the gradient of few episodes."),
    "noise.size": _NOISE,
}

_CHEETAH: Choices = {
    **_RUNNER,
    "strategy": Choice("multifactorial", "twice the return of the GA after equal steps."),
    "task.settings": Choice({"horizon": 50}),
    "policy.hidden": Choice([16], "small, so generations are quick."),
    "policy.std_gene": Choice("round", "explores in the first collections, and cashes in at the last."),
    "inner.rounds": Choice(3, "the rounds to report."),
    "inner.num_tasks": Choice(1, "a task per pair of children."),
    "inner.episodes": Choice(4, "more children in place of more episodes each."),
    "inner.step_size": Choice(1.0, "the evolved step size starts there."),
    "inner.discount": Choice(0.9, "an episode has 50 steps."),
    "multifactorial.population_size": Choice(64, "with 32 some seeds learn nothing."),
    "multifactorial.ranking": Choice("pair", "the two children of a pair share task and luck."),
    "multifactorial.std": Choice(0.1, "adapted from there."),
    "multifactorial.step_control": Choice("csa", "the length of the centre's path sets the std."),
    "multifactorial.rate": Choice(4.0, "few generations need long steps."),
    "multifactorial.episodes": Choice(1, "they are only reported."),
    "stop.environment_steps": Choice(2_000_000, "three minutes of one core."),
}

_ANT: Choices = {
    **_RUNNER,
    "task.settings": Choice({"horizon": 200, "terminates": False}),
    "policy.hidden": Choice([], "a linear policy; the activation then only sets the scale of its beginning."),
    "policy.std": Choice(0.15, "at 0.3 and more, children differ by luck, not by merit."),
    "inner.rounds": Choice(3, "the rounds to report."),
    "inner.episodes": Choice(5, "two cores."),
    "inner.discount": Choice(0.95, "an action matters for some twenty steps."),
    "ga.population_size": Choice(40, "for two cores."),
    "ga.num_parents": Choice(8, "a fifth of the children."),
    "ga.recombine": Choice(4, "the mean of four parents is steadier than any one."),
    "ga.mutation_std": Choice(0.2, "a large std finds the way."),
    "ga.mutation_std_final": Choice(0.05, "a constant 0.2 found nothing better from the third generation on."),
    "ga.elite.candidates": Choice(2, "a re-evaluation costs as much as a child."),
    "ga.elite.episodes": Choice(8, "with 4 a lucky candidate became the elite."),
    "stop.generations": Choice(20, "a quarter of an hour of two cores."),
}

_VELOCITIES: Choices = {"inner.num_tasks": Choice(4, "of many velocities or goals, at the cost of two cores.")}

_TASKS: Mapping[str, Choices] = {
    "ant_direction": _ANT,
    "ant_goal": {**_ANT, **_VELOCITIES},
    "ant_velocity": {**_ANT, **_VELOCITIES},
    "bandit": _MEMORY,
    "cheetah_direction": _CHEETAH,
    "cheetah_velocity": _CHEETAH,
    "mdp": {**_MEMORY, "inner.num_tasks": Choice(100, "luck belongs to the task; 100 steps make a trial.")},
    "navigation": _NAVIGATION,
    "roboschool_ant_direction": {
        **_ANT,
        "policy.activation": Choice("relu"),
        "stop.generations": Choice(13, "twenty minutes of two cores."),
    },
    "sinusoid": _SINUSOID,
}

_SMALL_ENV: Choices = {
    "policy.hidden": Choice([32, 32], "enough for a handful of observations."),
    "policy.output_scale": Choice(1.0, "the policy draws nothing, so its first actions may differ widely."),
    "ga.population_size": _FEW_CHILDREN,
    "ga.num_parents": _PARENTS,
    "ga.mutation_std": Choice(0.1, "large for a small network; found on CartPole."),
    "ga.elite.candidates": Choice(4, "in proportion to the population."),
    "ga.elite.episodes": Choice(20, "one episode says little about a policy."),
    "stop.generations": Choice(50, "a minute of one core, where an episode takes milliseconds."),
}

_MUJOCO: Choices = {
    "env.normalise_steps": Choice(10_000, "observations differ in scale."),
    "policy.hidden": Choice([], "a linear policy learns to walk, and quickly."),
    "ga.population_size": _FEW_CHILDREN,
    "ga.num_parents": _PARENTS,
    "ga.recombine": Choice(4, "a child starts from the mean of four parents; on Ant-v5 692 in place of 570 from one."),
    "ga.mutation_std": Choice(0.1, "with 0.03 HalfCheetah-v5 stood still for ten generations."),
    "ga.elite.candidates": Choice(4, "in proportion to the population."),
    "ga.elite.episodes": Choice(4, "one episode says little about a policy."),
    "stop.generations": Choice(20, "minutes of two cores."),
}

_ATARI: Choices = {
    "env.max_steps": Choice(5000, "as in Such et al. 2017."),
    "policy.network": Choice("nature", "as in Such et al. 2017."),
    "ga.population_size": Choice(100, "for two cores; Such et al. have 1000 children, 20 parents and a std of 0.002."),
    "ga.num_parents": Choice(4, "few, so many children come from the elite."),
    "ga.mutation_std": Choice(0.001, "fewer children need smaller steps."),
    "ga.elite.candidates": Choice(3, "in proportion to the population."),
    "ga.elite.episodes": Choice(10, "one episode says little about a policy."),
    "stop.environment_steps": Choice(1_200_000, "ten minutes of two cores; Such et al. have 250 million."),
}

_ROBOSCHOOL: Choices = {
    "env.python": Choice(".venv-roboschool/bin/python", "roboschool needs a Python 3.7: see docs/roboschool.md."),
    "env.max_steps": Choice(500, "a failing policy costs as much as a good one."),
    "policy.hidden": Choice([64, 64], "enough for a body's observations."),
    "policy.activation": Choice("tanh", "as usual for continuous actions."),
    "ga.population_size": _FEW_CHILDREN,
    "ga.num_parents": _PARENTS,
    "ga.elite.candidates": Choice(4, "in proportion to the population."),
    "ga.elite.episodes": Choice(4, "one episode says little about a policy."),
    "stop.generations": Choice(20, "minutes of two cores."),
    "noise.size": Choice(2**24, "64 MiB suffice for some thousand parameters."),
}

_ENVS: Mapping[str, Choices] = {
    "Ant-v5": {
        **_MUJOCO,
        "env.settings": Choice({"include_cfrc_ext_in_observation": False}, "it leaves out 78 contact forces."),
        "env.max_steps": Choice(500, "to stand still is then worth 500."),
        "ga.mutation_std": Choice(0.03, "found on this ant."),
        "noise.size": Choice(2**24, "64 MiB suffice for some hundred parameters."),
    }
}


def for_task(name: str) -> Choices:
    """Return the settings for a ready-made task, with all its arguments."""
    recommended = _TASKS[name]
    given = recommended.get("task.settings", Choice({})).value
    return {**recommended, "task.name": Choice(name), "task.settings": Choice({**READY_MADE[name].settings, **given})}


def for_own_task(*, has_updates: bool) -> Choices:
    """Return the settings for a user's task, with inner updates or, as a Problem, without."""
    return _SMALL if not has_updates else {**_SMALL, "inner.step_size_gene": _LEARNED_STEP_SIZES}


def for_env(env_id: str, *, is_mujoco: bool = False) -> Choices:
    """Return the settings for an environment.

    Args:
        env_id: its id.
        is_mujoco: whether it is one of Gymnasium's MuJoCo models.
    """
    named = {"env.id": Choice(env_id)}
    if env_id in _ENVS:
        return {**_ENVS[env_id], **named}
    for prefix, choices in {ATARI: _ATARI, ROBOSCHOOL: _ROBOSCHOOL}.items():
        if env_id.startswith(prefix):
            return {**choices, **named}
    return {**(_MUJOCO if is_mujoco else _SMALL_ENV), **named}
