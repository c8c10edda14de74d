"""The text of a SLURM job script, from one pure function.

A job runs `gamaml preflight` and then `gamaml run --resume` under the same launcher. Shortly before its time limit
SLURM signals the script, which passes the signal on; the run commits and exits with 75, and the script requeues its
job.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gamaml.errors import ConfigError
from gamaml.slurm.site import Site


@dataclass(frozen=True)
class Task:
    """The work of one job of an array, as arguments of `gamaml run`.

    Attributes:
        configs: config files, relative to the folder in which the job was submitted.
        arguments: further arguments, such as ("--seeds", "0-4").
    """

    configs: tuple[str, ...]
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """A job, or an array of them if there are several tasks.

    Attributes:
        command: the command line that produced this script, shown at its top.
        name: name of the job, of its script and of its log in `out`.
        tasks: the work, one job for each task.
        nodes: nodes per job.
        ranks_per_node: MPI ranks on each node.
        time: time limit, in one of SLURM's forms.
        memory_mib: memory per node, in MiB.
        out: folder of run files and logs, which has to exist when the job starts.
        bin_folder: folder of the programs gamaml and, where it is used, mpiexec; "" if PATH has them.
    """

    command: tuple[str, ...]
    name: str
    tasks: tuple[Task, ...]
    nodes: int
    ranks_per_node: int
    time: str
    memory_mib: int
    out: Path
    bin_folder: str = ""

    @property
    def log(self) -> str:
        """The log file, with SLURM's patterns for the job's number."""
        number = "%A_%a" if len(self.tasks) > 1 else "%j"
        return f"{str(self.out / self.name).replace('%', '%%')}-{number}.log"


def script(job: Job, site: Site) -> str:
    """Return the job script. All outside text is quoted.

    Raises:
        ConfigError: a value holds a line break or another control character.
    """
    parts = ["#!/bin/bash", f"# {_join(job.command)}", *_directives(job, site), "set -euo pipefail", ""]
    parts += _environment(job, site)
    parts += [f"launch=({_join(_launch(site))})", *_tasks(job), _BODY]
    return "\n".join(parts)


def _directives(job: Job, site: Site) -> Iterable[str]:
    options = {
        "job-name": job.name,
        "partition": site.partition,
        "account": site.account,
        "nodes": str(job.nodes),
        "ntasks-per-node": str(job.ranks_per_node),
        "cpus-per-task": "1",
        "mem": f"{job.memory_mib}M",
        "time": job.time,
        "array": f"0-{len(job.tasks) - 1}" if len(job.tasks) > 1 else "",
        "output": job.log,
        "open-mode": "append",
        "signal": f"B:USR1@{site.signal_seconds}",
    }
    yield from (f"#SBATCH --{name}={_quote(value)}" for name, value in options.items() if value)
    yield "#SBATCH --requeue"
    yield from (f"#SBATCH {_quote(option)}" for option in site.sbatch)


def _environment(job: Job, site: Site) -> list[str]:
    lines: list[str] = []
    if site.modules:
        lines.append("set +u # modules are not written for it")
        if site.module_init:
            lines += ["# shellcheck source=/dev/null", f". {_quote(site.module_init)}"]
        lines += ["module purge", f"module load {_join(site.modules)}", "set -u"]
    if job.bin_folder:
        # After the modules, so that mpiexec belongs to the MPI that gamaml uses.
        lines.append(f'export PATH={_quote(job.bin_folder)}:"$PATH"')
    lines += [f"export {name}={_quote(value)}" for name, value in site.environment.items()]
    return [*lines, ""] if lines else []


def _launch(site: Site) -> tuple[str, ...]:
    # Without this option srun lets the other ranks of a job wait for a killed one.
    return (*site.launch, "--kill-on-bad-exit=1") if Path(site.launch[0]).name == "srun" else site.launch


def _tasks(job: Job) -> list[str]:
    if len(job.tasks) == 1:
        return _assignments(job, job.tasks[0])
    cases = (f"    {number}) {' '.join(_assignments(job, task))} ;;" for number, task in enumerate(job.tasks))
    return ['case "$SLURM_ARRAY_TASK_ID" in', *cases, "esac"]


def _assignments(job: Job, task: Task) -> list[str]:
    arguments = (*task.arguments, "--out", str(job.out))
    return [f"configs=({_join(task.configs)})", f"arguments=({_join(arguments)})"]


def _join(words: Sequence[str]) -> str:
    return " ".join(map(_quote, words))


def _quote(text: str) -> str:
    if not text.isprintable():
        raise ConfigError(f"job script: expected text of one line in it, got {text!r}; remove the control characters")
    return shlex.quote(text)


_BODY = r"""
job=$SLURM_JOB_ID
if [[ -n ${SLURM_ARRAY_JOB_ID:-} ]]; then
    # The plain number may stand for the whole array.
    job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi
echo "job $job: start $((${SLURM_RESTART_COUNT:-0} + 1)) on $SLURM_JOB_NODELIST, $(date)"

# Only this shell gets the signal before the time limit. The launcher passes USR1 on to the ranks; TERM would kill them.
asked='' launched=''
# shellcheck disable=SC2317,SC2329 # called by the trap
ask() {
    asked=yes interrupted=yes
    if [[ -n $launched ]]; then
        kill -USR1 "$launched" 2>/dev/null || true
    fi
}
trap ask USR1 TERM

# A run that lost a node writes here: its launcher waits for that node, is killed, and cannot pass the run's 75 on.
GAMAML_RESTART_FILE=$(mktemp)
export GAMAML_RESTART_FILE
end_launcher() {
    until [[ -s $GAMAML_RESTART_FILE ]]; do sleep 1; done
    sleep 10
    kill -KILL "$launched"
}

# Runs a command on all ranks and gives its exit code.
on_ranks() {
    local status watcher
    "${launch[@]}" "$@" &
    launched=$!
    end_launcher >/dev/null 2>&1 &
    watcher=$!
    disown
    # Asked while nothing was running yet.
    if [[ -n $asked ]]; then ask; fi
    while :; do
        status=0 interrupted=''
        wait "$launched" || status=$?
        # A signal ends the waiting, not the ranks.
        [[ -n $interrupted && $status -gt 128 ]] || break
    done
    launched=''
    kill "$watcher" 2>/dev/null || true
    return "$status"
}

status=0
on_ranks gamaml preflight "${configs[@]}" "${arguments[@]}" || status=$?
if ((status == 0)) && [[ -z $asked ]]; then
    on_ranks gamaml run "${configs[@]}" "${arguments[@]}" --resume || status=$?
elif [[ -n $asked ]]; then
    status=75
fi

# Killed, because time ran out after the signal or a node fell silent: the run files have everything that was finished.
if ((status > 128)) && [[ -n $asked || -s $GAMAML_RESTART_FILE ]]; then
    status=75
fi
rm -f "$GAMAML_RESTART_FILE"
if ((status == 75)); then
    # A job that was cancelled, or that SLURM requeues by itself, is no longer running; requeueing would revive it.
    # The controller may be out of reach of a node that was cut off: until its link is back, or SLURM requeues the job.
    deadline=$((SECONDS + 600))
    until state=$(squeue --noheader --jobs="$job" --format=%T); do
        ((SECONDS < deadline)) || break
        sleep 5
    done
    if [[ $state != RUNNING ]]; then
        echo "job $job: checkpointed; left to SLURM, since its state is ${state:-unknown}"
    elif scontrol requeue "$job"; then
        echo "job $job: checkpointed and requeued, $(date)"
    else
        echo "job $job: checkpointed, but it could not be requeued; submit it again to go on"
    fi
fi
exit "$status"
"""
