"""`watch(..., record=FILE)`: the run is in the file, from its first step to its end."""

from __future__ import annotations

from pathlib import Path

from starting import PATIENCE_S, Start

from tuimon.recording.reader import Recording
from tuimon.records.sample import Sample

SCRIPT = """
import sys, torch, tuimon
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
tuimon.watch(model, optimizer, name="recorded", every=1, record=sys.argv[1])
for _ in range(7):
    optimizer.zero_grad()
    model(torch.ones(3, 4)).sum().backward()
    optimizer.step()
print("trained")
"""


def test_the_run_is_in_the_file(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "run.tuimon"
    training = start("-W", "error", "-c", SCRIPT, file)
    out, err = training.communicate(timeout=PATIENCE_S)
    # Both pipes end with the last process that holds them: the recorder, which has finished by then.
    assert (training.returncode, out) == (0, "trained\n")
    assert "Traceback" not in err
    with Recording(file) as recording:
        (run,) = recording.runs()
        samples = [one for one in recording.records(run.run) if isinstance(one, Sample)]
    assert (run.name, run.end_reason) == ("recorded", "finished")
    assert [sample.step for sample in samples] == [1, 2, 3, 4, 5, 6, 7]
