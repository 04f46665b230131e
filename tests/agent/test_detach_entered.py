"""An agent that entered leaves nothing behind, whoever sends it away and whenever."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from entering import Told, entered, entering, mlp, named, names, on_a_thread, step
from observing import PATIENCE_S
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.optim import optimizer as torch_optimizers

import tuimon
from tuimon.agent import enter as enter_module
from tuimon.agent import watcher
from tuimon.agent.enter import enter
from tuimon.agent.finding import discovery
from tuimon.agent.publishing.publisher import Publisher
from tuimon.agent.watcher import Watcher
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Notice, Sample
from tuimon.wire.commands import Detach, encode_command
from tuimon_kernels import Backend, reference

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever other tests have compiled in this process.
    monkeypatch.setattr(discovery, "compiled_code", lambda: False)


def attributes(model: nn.Module) -> dict[tuple[str, str], object]:
    """Every attribute and table of hooks that belongs to PyTorch and not to an object of the training."""
    owners = {
        "module": torch_modules,
        "Module": nn.Module,
        "optimizer": torch_optimizers,
        "Optimizer": torch.optim.Optimizer,
        "autograd": torch.autograd,
        "Variable": torch.autograd.Variable,
        "graph": torch.autograd.graph,
        "Tensor": torch.Tensor,
        "GradScaler": torch.amp.GradScaler,
        "functional": nn.functional,
        "compiler": torch.compiler,
    }
    found = {(name, key): value for name, owner in owners.items() for key, value in vars(owner).items()}
    for path, module in model.named_modules():
        found |= {(path, key): value for key, value in vars(module).items() if "hooks" in key}
    return {key: value for key, value in found.items() if not key[1].startswith("__")}


def tables(model: nn.Module) -> dict[str, list[object]]:
    """What the tables among these hold."""
    return {
        str(key): list(table.items())
        for key, table in attributes(model).items()
        if isinstance(table, dict) and "hooks" in key[1]
    }


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("tuimon")}


def send_away(told: Told) -> None:
    told.socket.sendall(encode_command(Detach()))


def detached(told: Told, optimizer: torch.optim.Optimizer, model: nn.Module) -> Record:
    """Its last words, after it was asked to leave and one more step was taken."""
    send_away(told)
    here = watcher.current()
    assert here is not None
    # The request is read on the publisher's thread: the step comes after that.
    until(lambda: here.asked_s is not None)
    step(optimizer, model)
    return told.until_end()


def test_everything_is_as_before_and_the_same_objects() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(optimizer, model)
    before, held = attributes(model), tables(model)
    descriptors = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        here = entered()
        told = Told(here.path)
        for _ in range(4):
            step(optimizer, model)
        told.until(lambda r: isinstance(r, Sample))
        assert attributes(model) != before
        assert detached(told, optimizer, model).reason == "detached"  # type: ignore[union-attr]
        watcher.wait_for_goodbyes()
        assert watcher.current() is None
        after = attributes(model)
        assert after.keys() == before.keys()
        assert [key for key in after if after[key] is not before[key]] == []
        assert tables(model) == held
        until(lambda: not threads())
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_hooks_that_the_training_adds_meanwhile_stay_and_can_be_removed() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    called = []
    first = torch_optimizers.register_optimizer_step_post_hook(lambda *_: called.append("first"))
    here = entered()
    second = torch_optimizers.register_optimizer_step_post_hook(lambda *_: called.append("second"))
    third = torch_optimizers.register_optimizer_step_post_hook(lambda *_: called.append("third"))
    step(optimizer, model)
    assert called == ["first", "second", "third"]
    first.remove()
    step(optimizer, model)
    assert called[3:] == ["second", "third"]
    # Asked to leave, it does so while PyTorch walks through the very table in which its hook stands.
    detached(Told(here.path), optimizer, model)
    assert called[5:] == ["second", "third"]
    second.remove()
    step(optimizer, model)
    assert called[7:] == ["third"]
    third.remove()
    assert len(torch_optimizers._global_optimizer_post_hooks) == 0


def test_a_training_that_takes_no_further_step_is_left_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "GRACE_S", 0.01)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = attributes(model)
    told = Told(entered().path)
    for _ in range(3):
        step(optimizer, model)
    loss = model(torch.randn(2, 4)).sum()  # in the middle of an observed step, and nothing follows
    send_away(told)
    assert told.until_end().reason == "detached"
    assert any(isinstance(r, Notice) and "no step has ended" in r.text for r in told.records)
    watcher.wait_for_goodbyes()
    after = attributes(model)
    assert [key for key in after if after[key] is not before[key]] == []
    until(lambda: not threads())
    loss.backward()
    optimizer.step()


def test_the_viewer_that_leaves_first_takes_nothing_from_the_other() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    here = entered(leave_after_s=1000.0)
    one, other = Told(here.path), Told(here.path)
    for _ in range(3):
        step(optimizer, model)
    other.until(lambda r: isinstance(r, Sample))
    one.socket.shutdown(2)
    count = len(other.samples)
    for _ in range(5):
        step(optimizer, model)
    other.until(lambda r: isinstance(r, Sample) and r.index > count + 4)
    here.end("closed")


def gone(here: Watcher) -> None:
    assert here.publisher is not None
    here.publisher.wait_closed(PATIENCE_S)
    until(lambda: not threads())
    assert watcher.current() is None


@pytest.mark.parametrize("looked", [False, True])
def test_it_leaves_by_itself_when_nobody_looks_any_more(
    looked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "GRACE_S", 0.0)
    model = mlp()
    before = attributes(model)
    here = entered(leave_after_s=1000.0)
    told = Told(here.path) if looked else None
    assert (here.leave_due_s() is None) is looked
    here.leave_after_s = 0.01
    if told is not None:
        told.socket.shutdown(2)
    else:
        assert here.publisher is not None
        here.publisher.wake()
    gone(here)
    after = attributes(model)
    assert [key for key in after if after[key] is not before[key]] == []


def test_it_leaves_so_long_after_the_last_viewer_and_not_after_the_first() -> None:
    here = entered(leave_after_s=1000.0)
    began_s = here.leave_due_s()
    assert began_s is not None
    one, other = Told(here.path), Told(here.path)
    publisher = here.publisher
    assert publisher is not None
    one.socket.shutdown(2)
    until(lambda: publisher.viewers == 1)
    assert here.leave_due_s() is None
    other.socket.shutdown(2)
    until(lambda: publisher.viewers == 0)
    assert publisher.last_departure_s is not None
    assert here.leave_due_s() == publisher.last_departure_s + 1000.0
    assert publisher.last_departure_s + 1000.0 > began_s
    here.end("closed")


def until(true: Callable[[], bool]) -> None:
    """For what no event tells: ask again and again, gently."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S * 1000)):
        if true():
            return
        pause.wait(0.001)
    raise AssertionError("it never came true")


def test_one_that_is_declared_stays_as_it_is_when_it_is_entered() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.watch(model, optimizer, name="mine", every=3) as monitor:
        here = watcher.current()
        assert here is not None
        agent, publisher = here.agent, here.publisher
        assert entered(every=1, leave_after_s=0.0, name="theirs") is here
        assert (here.agent, here.publisher) == (agent, publisher)
        for _ in range(7):
            step(optimizer, model)
        told = Told(monitor.path)
        told.until(lambda r: isinstance(r, Sample) and r.step == 7)
        assert [sample.step for sample in told.samples] == [1, 4, 7]
        assert told.hello.name == "mine"
        assert detached(told, optimizer, model).reason == "detached"  # type: ignore[union-attr]


def test_one_that_is_inside_already_is_joined() -> None:
    here = entered()
    assert entered() is here
    publisher = here.publisher
    assert publisher is not None
    # Its thread has failed: it is deaf, and listens again for the next who comes.
    publisher.close(Bye("closed"))
    publisher._failed = "an error"
    assert entered() is here
    assert isinstance(here.publisher, Publisher)
    assert here.publisher is not publisher
    Told(here.path)
    here.end("closed")


def test_nothing_is_left_where_no_socket_can_be_made(tmp_path: Path) -> None:
    model = mlp()
    before = attributes(model)
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        on_a_thread(lambda: enter({"directory": str(tmp_path / "file" / "inside")}))
    assert watcher.current() is None
    after = attributes(model)
    assert [key for key in after if after[key] is not before[key]] == []
    until(lambda: not threads())


def test_unknown_options_are_ignored_and_null_is_the_default() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with entering(name=None, something=3, budget=None) as agent:
        for _ in range(3):
            step(optimizer, model)
        assert names(agent) == named(model)


def test_one_whose_thread_has_failed_leaves_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = mlp()
    before = attributes(model)
    here = entered(leave_after_s=1000.0)
    publisher = here.publisher
    assert publisher is not None
    monkeypatch.setattr(publisher, "_on_turn", lambda: 1 / 0)
    publisher.wake()
    until(lambda: watcher.current() is None)
    until(lambda: not threads())
    assert publisher.failed == "ZeroDivisionError: division by zero"
    (said,) = capfd.readouterr().err.splitlines()
    why = f"process {os.getpid()} is shown to nobody any more, training goes on"
    assert said == f"tuimon: {why}: ZeroDivisionError: division by zero"
    after = attributes(model)
    assert [key for key in after if after[key] is not before[key]] == []


def test_a_watch_that_comes_later_ends_alone() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    here = entered()
    told = Told(here.path)
    for _ in range(2):
        step(optimizer, model)
    monitor = tuimon.watch(model, optimizer)
    assert monitor.path == here.path
    monitor.close()
    assert watcher.current() is here
    count = here.agent.samples
    for _ in range(4):
        step(optimizer, model)
    assert here.agent.samples > count
    assert here.agent.guard.failure is None
    here.end("closed")
    assert told.until_end().reason == "closed"


def test_several_that_enter_at_the_same_time_find_one_agent() -> None:
    together, here = threading.Barrier(8), []

    def come() -> None:
        together.wait(PATIENCE_S)
        here.append(entered())

    several = [threading.Thread(target=come) for _ in range(8)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join(PATIENCE_S)
    assert len(here) == 8
    assert len(set(here)) == 1
    assert len(threads()) == 1
    here[0].end("closed")


def test_no_agent_that_has_left_stays_in_memory() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gone_ones = []
    for _ in range(3):
        here = entered()
        told = Told(here.path)
        for _ in range(3):
            step(optimizer, model)
        gone_ones += [weakref.ref(here), weakref.ref(here.agent), weakref.ref(here.agent.window)]
        here.end("closed")
        told.until_end()
        del here, told
    gc.collect()
    assert [one() for one in gone_ones] == [None] * 9


def test_one_that_is_sent_away_before_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp()
    before = attributes(model)

    def kernels_for(_: object) -> Backend:
        here = watcher.current()
        assert here is not None
        here.end("detached")
        return reference.BACKEND

    monkeypatch.setattr(enter_module, "kernels_for", kernels_for)
    on_a_thread(lambda: enter({}))
    assert watcher.current() is None
    after = attributes(model)
    assert [key for key in after if after[key] is not before[key]] == []
    until(lambda: not threads())


def test_nobody_who_could_not_look_yet_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernels_for(_: object) -> Backend:
        here = watcher.current()
        assert here is not None
        # However long the kernels take.
        assert here.leave_due_s() is None
        return reference.BACKEND

    monkeypatch.setattr(enter_module, "kernels_for", kernels_for)
    here = entered(leave_after_s=1000.0)
    assert here.leave_due_s() is not None
    here.end("closed")
