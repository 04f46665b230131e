"""What of this machine matters to attaching: each obstacle has its remedy."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tuimon.attach.injection import preflight
from tuimon.attach.inspection import machine, ptrace
from tuimon.attach.inspection.findings import Finding
from tuimon.attach.inspection.machine import machine_findings
from tuimon.attach.process import PROC


def found(name: str, proc: Path = PROC) -> Finding:
    (finding,) = [finding for finding in machine_findings(proc) if finding.name == name]
    return finding


def test_what_stands_in_the_way_always_has_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_named: None)
    monkeypatch.setattr(ptrace, "refusal", lambda: PermissionError(1, "Operation not permitted"))
    findings = machine_findings()
    assert {finding.name for finding in findings if finding.verdict == "no"} >= {"gdb", "ptrace"}
    assert all(finding.remedy for finding in findings if finding.verdict == "no")
    assert len({finding.name for finding in findings}) == len(findings)


def test_gdb_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_named: None)
    gdb = found("gdb")
    assert gdb.verdict == "no"
    assert gdb.remedy is not None and "apt install gdb" in gdb.remedy and "tuimon run" in gdb.remedy
    # These are in nobody's way.
    assert found("ssh").verdict == found("py-spy").verdict == "note"


def test_programs_tell_their_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gdb"
    program.write_text("#!/bin/sh\necho; echo 'GNU gdb 77.7'; echo Copyright\n")
    program.chmod(0o700)
    monkeypatch.setattr(machine, "debugger", lambda: str(program))
    assert found("gdb") == Finding("gdb", "ok", f"GNU gdb 77.7, {program}")


@pytest.mark.parametrize(
    ("scope", "may_all", "verdict", "remedy"),
    [
        (None, False, "ok", None),
        (0, False, "ok", None),
        (1, False, "no", "setpriv --ptracer any"),
        (1, True, "ok", None),
        (2, False, "no", "as root"),
        (2, True, "ok", None),
        (3, True, "no", "tuimon run"),
    ],
)
def test_yama(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scope: int | None,
    may_all: bool,
    verdict: str,
    remedy: str | None,
) -> None:
    monkeypatch.setattr(machine, "may_trace_all", lambda: may_all)
    if scope is not None:
        path = tmp_path / "sys" / "kernel" / "yama" / "ptrace_scope"
        path.parent.mkdir(parents=True)
        path.write_text(f"{scope}\n")
    finding = found("ptrace_scope", tmp_path)
    assert finding.verdict == verdict
    assert (finding.remedy is None) == (remedy is None)
    assert remedy is None or (finding.remedy is not None and remedy in finding.remedy)
    # A setting of the machine helps only where the rule can be met at all.
    assert scope == 1 or finding.remedy is None or "setpriv" not in finding.remedy


def test_tracing_is_tried_and_leaves_no_process() -> None:
    def children() -> set[str]:
        return {p for t in Path("/proc/self/task").iterdir() for p in (t / "children").read_text().split()}

    before = children()
    refused = ptrace.refusal()
    assert refused is None or refused.errno
    assert children() == before


#: Forbids one system call to this process and its children, as containers do; then asks.
FORBIDDING = """
import ctypes, struct, sys
load, equal, give = 0x20, 0x15, 0x06
allow, refuse = 0x7FFF0000, 0x00050000 | 1
code = [(load, 0, 0, 0), (equal, 0, 1, int(sys.argv[1])), (give, 0, 0, refuse), (give, 0, 0, allow)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
program = struct.pack("H6xP", len(code), ctypes.addressof(filters))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0, "no_new_privs"
if libc.prctl(22, 2, program, 0, 0) != 0:
    sys.exit(77)
from tuimon.attach.inspection import ptrace
print(ptrace.refusal())
"""


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="its number of ptrace is not known"
)
def test_a_filter_as_containers_have_it_is_noticed() -> None:
    number = {"x86_64": "101", "aarch64": "117"}[platform.machine()]
    command = [sys.executable, "-c", FORBIDDING, number]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode == 77:
        pytest.skip("this kernel takes no filter")
    assert (ran.stdout, ran.stderr) == ("[Errno 1] Operation not permitted\n", "")


def test_a_socket_directory_that_is_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "tuimon"
    own.mkdir()
    own.chmod(0o755)
    monkeypatch.setattr(machine, "directory_candidates", lambda _uid: (tmp_path / "none", own))
    sockets = found("sockets")
    assert (sockets.verdict, sockets.remedy) == ("no", f"run: chmod 700 {own}")
    own.chmod(0o700)
    assert found("sockets").verdict == "ok"


def test_the_capability_is_that_of_this_process() -> None:
    assert found("capabilities").what.startswith("with ") is preflight.may_trace_all()
    assert str(os.geteuid()) in found("user").what
