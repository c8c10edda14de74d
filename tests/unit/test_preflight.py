"""What preflight finds in the facts of ranks, and that each finding names its remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from gamaml.commands.job_checks import Check, judge_agreement, judge_places
from gamaml.commands.preflight import text
from gamaml.parallel.probe import RankFacts

RANK = RankFacts(
    rank=0,
    node=0,
    host="a",
    machine="boot a",
    launched_with=None,
    launched_on=None,
    cores=(0, 1, 2, 3),
    num_cores=4,
    software={"python": "3.11.7", "cpu": "EPYC", "numpy": "2.4.6", "mpi": "MPICH"},
    threads=True,
    noise=7,
    clock=1000.0,
    sees_node=True,
)


def ranks(count: int, **changes: Sequence[object]) -> list[RankFacts]:
    """Return `count` ranks of one node; `changes` gives a value per rank."""
    return [
        dataclasses.replace(RANK, rank=rank, **{name: values[rank] for name, values in changes.items()})
        for rank in range(count)
    ]


def two_hosts(**changes: Sequence[object]) -> list[RankFacts]:
    """Return three ranks on a and one on b."""
    places = {"node": (0, 0, 0, 1), "host": "aaab", "machine": ("boot a",) * 3 + ("boot b",)}
    return ranks(4, **{**places, **changes})


def findings(checks: Sequence[Check]) -> dict[str, str]:
    return {check.name: check.text for check in checks if check.finding}


def test_nothing_is_found_in_a_job_that_is_well() -> None:
    checks = [*judge_places(two_hosts()), *judge_agreement(two_hosts())]
    assert findings(checks) == {}
    assert checks[0].text == "4 ranks, node 0 on a: 3 (0-2); node 1 on b: 1 (3)"


@pytest.mark.parametrize(
    "launched", [{"launched_with": (3, 3, 3)}, {"launched_on": (0, 0, 0)}], ids=["its number", "SLURM's node"]
)
def test_ranks_of_one_node_that_share_no_memory_are_found(launched: dict[str, tuple[int, ...]]) -> None:
    found = findings(judge_places(ranks(3, node=(0, 1, 2), **launched)))
    assert found["nodes"].startswith("a: expected its 3 ranks to share one node's memory, got 1 with rank 0")
    assert "start with another srun --mpi= type" in found["nodes"]


def test_one_rank_on_each_of_slurms_nodes_is_no_finding() -> None:
    assert findings(judge_places(ranks(3, node=(0, 1, 2), launched_on=(0, 1, 2)))) == {}


def test_two_ranks_bound_to_one_core_are_found() -> None:
    found = findings(judge_places(ranks(3, cores=((0,), (1,), (0,)))))
    assert found["cores"].startswith("binding: expected a core per rank, got 2 ranks on 1 core (0) of a, ranks 0,2; ")
    assert "--bind-to none" in found["cores"]


def test_more_ranks_than_cores_of_a_laptop_are_told_and_no_finding() -> None:
    checks = judge_places(ranks(5))
    assert findings(checks) == {}
    assert "5 ranks on 4 cores (0-3) of a: more ranks than cores give nothing" in [check.text for check in checks]


def test_equal_cores_of_two_machines_are_different_cores() -> None:
    assert findings(judge_places(two_hosts(cores=((0,), (1,), (2,), (0,))))) == {}


def test_rank_that_does_not_see_its_node_is_named() -> None:
    found = findings(judge_places(two_hosts(sees_node=(True, True, True, False))))
    assert "got others on rank 3 (b)" in found["windows"]


@pytest.mark.parametrize(
    ("name", "cure"), [("numpy", "use one environment on all"), ("cpu", "ask for one type of node")]
)
def test_other_software_or_cpu_on_a_host_is_found(name: str, cure: str) -> None:
    other = {**RANK.software, name: "other"}
    found = findings(judge_agreement(two_hosts(software=(RANK.software,) * 3 + (other,))))
    assert found["software"] == (
        f"{name}: expected the same on all ranks, got {RANK.software[name]} on a, other on b; {cure}"
        f"{' (SLURM: --constraint)' if name == 'cpu' else ''}, since results depend on it"
    )


def test_other_noise_clock_or_threads_are_found() -> None:
    facts = two_hosts(noise=(7, 7, 7, 8), clock=(1000.0, 1000.1, 1000.0, 997.0), threads=(True, True, True, False))
    found = findings(judge_agreement(facts))
    assert "got 00000007 on a, 00000008 on b" in found["noise"]
    assert "got 3.1 s between b and a; ask the administrators (NTP)" in found["clocks"]
    assert "expected MPI_THREAD_MULTIPLE" in found["threads"]


def test_table_has_one_line_per_check_and_one_for_all() -> None:
    checks = [Check("a", "well"), Check("bcd", "bad; do this", finding=True)]
    assert text(checks) == "ok     a    well\nFOUND  bcd  bad; do this\npreflight: 1 finding; see docs/running.md"
    assert text(checks[:1]).endswith("\npreflight: this job can run")
