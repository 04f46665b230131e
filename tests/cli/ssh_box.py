"""A host that ssh reaches: Debian's own sshd on loopback, with keys made for one test."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

#: Where distributions keep it; it insists on being started by its whole path.
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

WHY_NOT = "no sshd here (Debian: openssh-server, openssh-client)"


@dataclass(frozen=True)
class Box:
    """The host `box`, for an `ssh` that is found first on `path`."""

    folder: Path
    port: int

    @property
    def path(self) -> str:
        return f"{self.folder / 'bin'}:{os.environ['PATH']}"

    def configure(self, *lines: str) -> None:
        """The client's configuration of the host, with these lines first."""
        own = (
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"IdentityFile {self.folder / 'client'}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.folder / 'known_hosts'}",
            "GlobalKnownHostsFile /dev/null",
        )
        text = "\n".join(["Host box", *lines, *own])
        (self.folder / "ssh_config").write_text(f"{text}\n")

    def trust(self, key: str = "host") -> None:
        """Let the client know the host by this key."""
        kind, text = (self.folder / f"{key}.pub").read_text().split()[:2]
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {text}\n")


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


#: What ssh by itself says of such a host, nothing if it is well; tried once (an account may be locked).
_TRIED: list[str] = []


def _trial(ssh: Path) -> str:
    ran = subprocess.run([str(ssh), "box", "true"], capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stderr.strip() or f"exit code {ran.returncode}"


@contextlib.contextmanager
def ssh_box(folder: Path) -> Iterator[Box]:
    """A running sshd, trusted by the client, that lets this user in with a key."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip(WHY_NOT)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd locks itself in
    for key in ("host", "client", "other"):
        make_key(folder / key)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
        f"AuthorizedKeysFile {folder / 'client.pub'}\nStrictModes no\nUsePAM no\nPidFile none\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    ssh = folder / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{folder / "ssh_config"}" "$@"\n')
    ssh.chmod(0o700)
    box = Box(folder, port)
    box.configure()
    box.trust()
    command = [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as sshd:
        assert sshd.stderr is not None
        try:
            said = sshd.stderr.readline()
            while "Server listening" not in said:
                assert said, "sshd did not start"
                said = sshd.stderr.readline()
            if not _TRIED:
                _TRIED.append(_trial(ssh))
            if _TRIED[0]:
                pytest.skip(f"sshd does not let this user in here, whoever asks: {_TRIED[0]}")
            yield box
        finally:
            sshd.kill()
