"""`record`, and `attach` without a terminal: lines, limits, exit codes, and leaving in good order."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
from agent_double import Server, frames, sample
from command_line import BYE, GREETING, PATIENCE_S, PID, Agent, Ran, Start, Tuimon

from tuimon.cli.main import run
from tuimon.records.criterion import ClassCounts, Criterion, Evaluation
from tuimon.records.sample import Log, Notice
from tuimon.records.tensors import empty_table
from tuimon.session import session as session_module
from tuimon.session import silence as silence_module
from tuimon.wire.commands import Cadence, Subscribe, decode_command, encode_command
from tuimon.wire.framing import Decoder


def steps(*losses: float) -> bytes:
    """Samples of a training in which no tensor was read."""
    return frames(
        *(sample(index, loss=loss, tensors=empty_table()) for index, loss in enumerate(losses, start=1))
    )


THREE = steps(3.0, 1.5, 1.0)
LOST = steps(2.0, math.nan, math.nan)


def events(told: Ran) -> list[dict[str, Any]]:
    assert told.err == ""
    return [json.loads(line) for line in told.out.splitlines()]


def test_json_lines_from_hello_to_bye(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, THREE, frames(BYE))
    ran = tuimon("record", PID, "--json")
    assert ran.code == 0
    lines = events(ran)
    assert [line["event"] for line in lines] == ["hello", "sample", "sample", "sample", "bye"]
    assert lines[0]["pid"] == PID
    assert [line["loss"] for line in lines[1:4]] == [3.0, 1.5, 1.0]
    assert "tensors" not in lines[1]
    assert lines[-1]["reason"] == "finished"


def test_an_option_that_comes_too_late_is_said(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, THREE, frames(BYE))
    ran = tuimon("record", PID, "--activations", "eager-step")
    assert ran.code == 0
    assert ran.err == (
        f"tuimon is inside process {PID} already, and stays as it is: --activations has no effect\n"
    )


def test_json_lines_with_tensors(tuimon: Tuimon, agent: Agent) -> None:
    server = agent(GREETING, frames(sample(1), BYE))
    first = events(tuimon("record", PID, "--json", "--tensors"))[1]
    assert [tensor["name"] for tensor in first["tensors"]] == ["encoder.weight", "encoder.bias"]
    # Nothing that is printed needs them, and they are most of what would travel.
    assert server.commands == [Subscribe(histograms=False)]


COUNTED = ClassCounts((0, 7), (3, 1), 2)
TERM = Criterion("cross_entropy", 0.5, "mean", 4, 6, 10, 6, 3, COUNTED, COUNTED)
VALIDATED = frames(
    sample(
        1, loss=0.5, microbatches=4, loss_divisor=4, loss_scale=1024.0, criteria=(TERM,),
        tensors=empty_table(),
    ),
    Evaluation(1, 1001.5, 3, 0.25, (TERM, Criterion("mse_loss", 2.0))),
)  # fmt: skip


def test_losses_are_said_with_how_they_came_about(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, VALIDATED, frames(BYE))
    lines = tuimon("record", PID).out.splitlines()
    words = "mean of 4 microbatches, divided before backward, unscaled"
    assert lines[1].startswith(f"step 1  loss 0.5 ({words})  accuracy 50 %  lr -")
    assert lines[2] == "step 1  validation loss 0.5 over 3 batches  accuracy 50 %  mse_loss 2"


def test_json_lines_of_loss_terms_and_validation(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, VALIDATED, frames(BYE))
    _, first, second, _ = events(tuimon("record", PID, "--json"))
    told = {
        "name": "cross_entropy", "value": 0.5, "reduction": "mean", "calls": 4, "n": 6, "classes": 10,
        "accuracy": 0.5, "judged": 6, "labels": {"counts": {"0": 3, "7": 1}, "rest": 2},
        "predictions": {"counts": {"0": 3, "7": 1}, "rest": 2},
    }  # fmt: skip
    assert first["criteria"] == [told]
    assert (first["loss_divisor"], first["loss_scale"], first["microbatches"]) == (4, 1024.0, 4)
    assert second["criteria"][0] == told
    assert {name: second[name] for name in second if name != "criteria"} == {
        "event": "evaluation", "step": 1, "time": 1001.5, "loss": 0.5, "accuracy": 0.5, "batches": 3,
        "duration_s": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize("verb", ["record", "attach"])
def test_without_json_a_person_can_read_it(tuimon: Tuimon, agent: Agent, verb: str) -> None:
    agent(GREETING, THREE, frames(Log(3, 1003.0, {"val_loss": 1.25}), Notice(3, 1003.0, "hm"), BYE))
    ran = tuimon(verb, PID)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"train  pid {PID} @ here")
    assert lines[1].startswith("step 1  loss 3  lr -  gradient norm -")
    assert lines[4:6] == ["step 3  val_loss 1.25", "note at step 3: hm"]
    assert lines[6:] == ["end at step 3: the training has finished; no alert fired"]


def test_steps_counts_lines_of_samples(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, THREE)
    ran = tuimon("record", PID, "--json", "--steps", 2)
    assert ran.code == 0
    lines = events(ran)
    assert [line["event"] for line in lines] == ["hello", "sample", "sample", "bye"]
    assert "2 observed steps" in lines[-1]["reason"]


def test_the_alerts_of_the_last_step_are_not_lost(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, LOST)
    lines = events(tuimon("record", PID, "--json", "--steps", 2))
    assert [line["event"] for line in lines] == ["hello", "sample", "sample", "alert", "bye"]
    assert "nonfinite" in lines[-1]["alerts"]


def test_for_ends_a_training_that_says_nothing_more(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, THREE)
    ran = tuimon("record", PID, "--for", "1s")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "end at step 3: watched for 1 s; no alert fired"


@pytest.mark.parametrize("level", ["info", "warning", "critical"])
def test_fail_on_ends_with_its_own_exit_code(tuimon: Tuimon, agent: Agent, level: str) -> None:
    agent(GREETING, LOST)
    ran = tuimon("record", PID, "--fail-on", level)
    assert ran.code == 3
    assert "CRITICAL nonfinite" in ran.out
    assert "nonfinite fired" in ran.out


def test_fail_on_lets_a_healthy_run_pass(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, THREE, frames(BYE))
    assert tuimon("record", PID, "--fail-on", "info").code == 0


def test_an_alert_alone_is_no_failure(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, LOST, frames(BYE))
    ran = tuimon("record", PID)
    assert ran.code == 0
    assert ran.out.splitlines()[-1].startswith("    critical nonfinite")


@pytest.mark.parametrize(
    ("arguments", "command"),
    [(("--every", 3), Cadence(every=3)), (("--budget", "2%"), Cadence(budget_ratio=0.02))],
)
def test_the_cadence_asked_for_reaches_the_agent(
    start: Start, own_socket: Any, arguments: tuple[object, ...], command: Cadence
) -> None:
    received = bytearray()

    def serve(connection: Any, _: int) -> None:
        connection.sendall(GREETING)
        while len(received) < len(encode_command(command)):
            received.extend(connection.recv(4096))
        connection.sendall(frames(BYE))

    server = Server(own_socket, serve)
    try:
        assert start("record", PID, *arguments).wait(PATIENCE_S) == 0
    finally:
        server.close()
    assert [decode_command(payload) for payload in Decoder().feed(bytes(received))] == [command]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_still_says_what_fired(start: Start, agent: Agent, sent: signal.Signals) -> None:
    agent(GREETING, THREE)
    process = start("record", PID)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 3"):
            break
    process.send_signal(sent)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    assert out == "end at step 3: interrupted; no alert fired\n"


def test_a_reader_that_has_seen_enough_ends_it_quietly(start: Start, agent: Agent) -> None:
    agent(GREETING, frames(*(sample(index) for index in range(1, 2000))), frames(BYE))
    process = start("record", PID, "--json", "--tensors")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_names_that_the_terminal_cannot_show_do_not_stop_it(
    start: Start, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    agent(GREETING, frames(Notice(1, 1001.0, "größer"), BYE))
    out, err = start("record", PID).communicate(timeout=PATIENCE_S)
    assert err == ""
    assert "gr??er" in out


def test_the_list_shows_an_agent_that_answers(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, THREE)
    ran = tuimon("list", "--json")
    assert (ran.code, ran.err) == (0, "")
    (own,) = [training for training in json.loads(ran.out) if training["pid"] == PID]
    assert own["attachable"]
    assert own["reason"] is None
    assert own["name"] == "train"
    assert own["framework"] == "torch 2.13.0"
    assert own["devices"] == ["cpu"]
    table = tuimon("list").out.splitlines()
    assert table[0].split() == ["PID", "USER", "RUN", "FRAMEWORK", "DEVICES", "STEP", "ATTACH"]
    assert any(line.split()[0] == str(PID) and line.endswith("yes") for line in table)


def test_a_training_that_makes_no_step_is_said_to(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], agent: Agent, runtime: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    for module in (session_module, silence_module):
        monkeypatch.setattr(module, "LEAST_S", 0.0)
    monkeypatch.setattr(silence_module, "TIMES", 0.0)
    agent(GREETING, steps(3.0))
    assert run(["record", str(PID), "--json", "--for", "0.5s"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (silence, *_) = [line for line in lines if line["event"] == "silence"]
    assert set(silence) == {"event", "step", "silent_s", "usual_s"}
    assert silence["step"] == 1
    assert run(["record", str(PID), "--for", "0.5s"]) == 0
    assert "no step for" in capfd.readouterr().out
