"""The watch over checkpoint signals."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from gamaml.job.signals import CHECKPOINT_SIGNALS, SignalWatch, Stopped


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", CHECKPOINT_SIGNALS, ids=lambda number: number.name)
def test_checkpoint_signal_is_noted_and_other_threads_learn_of_it(number: signal.Signals) -> None:
    found: list[bool] = []
    with SignalWatch(None) as watch:
        watch.serve()
        assert not watch.requested()
        send(number)
        thread = threading.Thread(target=lambda: found.append(watch.requested()))
        thread.start()
        thread.join()
    assert found == [True]


def test_handlers_that_were_there_come_back() -> None:
    before = [signal.getsignal(number) for number in CHECKPOINT_SIGNALS]
    with SignalWatch(None) as watch:
        assert [signal.getsignal(number) for number in CHECKPOINT_SIGNALS] != before
        watch.close()
        watch.close()
        assert [signal.getsignal(number) for number in CHECKPOINT_SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_signal_before_there_is_anything_to_save_ends_the_job_at_once() -> None:
    ends: list[str] = []
    with SignalWatch(lambda: ends.append("before MPI")) as watch:
        send(signal.SIGTERM)
        assert ends == ["before MPI"]
        watch.end_job_by(lambda: ends.append("with MPI"))
        assert ends == ["before MPI", "with MPI"]
        watch.serve()
        send(signal.SIGTERM)
    assert ends == ["before MPI", "with MPI"]


def test_evaluation_is_broken_off_from_another_thread_while_it_runs() -> None:
    with SignalWatch(None) as watch:
        watch.serve()
        with pytest.raises(Stopped), watch.evaluation():
            threading.Thread(target=watch.give_up).start()
            time.sleep(60)


def test_no_evaluation_begins_after_giving_up() -> None:
    watch = SignalWatch(None)
    watch.give_up()
    with pytest.raises(Stopped), watch.evaluation():
        pytest.fail("the evaluation began")


def test_outside_the_main_thread_nothing_is_installed() -> None:
    before = [signal.getsignal(number) for number in CHECKPOINT_SIGNALS]
    seen: list[object] = []

    def watch_there() -> None:
        with SignalWatch(None) as watch:
            seen.extend(signal.getsignal(number) for number in CHECKPOINT_SIGNALS)
            seen.append(watch.requested())

    thread = threading.Thread(target=watch_there)
    thread.start()
    thread.join()
    assert seen == [*before, False]
