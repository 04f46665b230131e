"""The verbs and options that scripts rely on: add, but do not rename."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from tuimon.cli.main import tuimon
from tuimon.cli.record import LEVELS
from tuimon.records.alert import Severity

CONTRACT = {
    "attach": {"TARGET", "--via", "--remote-command", "--every", "--budget", "--measure", "--activations"},
    "list": {"HOST...", "--json", "--via", "--remote-command"},
    "relay": {"PID", "--every", "--budget", "--activations"},
    "record": {
        "TARGET",
        "--via",
        "--remote-command",
        "--for",
        "--steps",
        "--every",
        "--budget",
        "--measure",
        "--activations",
        "-o",
        "--json",
        "--tensors",
        "--fail-on",
    },
    "run": {"COMMAND...", "--record", "--events", "--fail-on", "--every", "--budget", "--activations"},
    "replay": {"FILE", "--run"},
    "detach": {"TARGET", "--via", "--remote-command"},
    "doctor": {"TARGET", "--json", "--via", "--remote-command"},
    "demo": {"--scenario", "--steps"},
    "explain": {"RULE"},
}


def spellings(command: click.Command) -> set[str]:
    found: set[str] = set()
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            found.add(parameter.make_metavar(click.Context(command)).strip("[]"))
        else:
            found.update(parameter.opts)
    return found


def test_the_verbs_are_these() -> None:
    assert tuimon.commands.keys() == CONTRACT.keys()


@pytest.mark.parametrize("verb", CONTRACT)
def test_the_options_are_these(verb: str) -> None:
    assert spellings(tuimon.commands[verb]) == CONTRACT[verb]


def test_the_levels_are_the_severities() -> None:
    assert tuple(severity.word for severity in Severity) == LEVELS


def test_every_verb_and_option_says_what_it_does() -> None:
    for verb in tuimon.commands.values():
        assert verb.help
        assert all(p.help for p in verb.params if isinstance(p, click.Option)), verb.name


def modules_after(code: str) -> set[str]:
    code += "\nimport sys; print('\\n'.join(sys.modules), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {name.partition(".")[0] for name in ran.stderr.split()}


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_after("from tuimon.cli.main import run; run(['--help'])")
    assert not loaded & {"numpy", "textual", "rich", "psutil", "msgspec", "torch", "tuimon_kernels"}


def test_the_list_loads_no_screen_and_no_torch() -> None:
    loaded = modules_after("from tuimon.cli.main import run; run(['list'])")
    assert not loaded & {"textual", "rich", "torch", "numba", "tuimon_kernels"}
