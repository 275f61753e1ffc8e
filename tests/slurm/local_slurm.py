"""A real Slurm on this machine: munge, a controller and a node, on loopback, taken down again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "srun", "scancel", "sinfo")
ETC = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
CredType=cred/munge
MpiDefault=none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs.txt
GresTypes=gpu
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory={memory} Gres=gpu:toy:2 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=urgent Nodes={host} MaxTime=INFINITE PriorityTier=10 PreemptMode=off State=UP
"""


def why_not() -> str | None:
    """Say why there can be no Slurm here; None where there can."""
    missing = [name for name in DAEMONS if shutil.which(name) is None]
    if missing:
        return f"Slurm isn't installed: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    if any((ETC / name).exists() and not (ETC / name).is_symlink() for name in FILES):
        return f"{ETC} belongs to a Slurm of this machine"
    return None


class LocalSlurm:
    """The daemons, and how to ask them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        for name in ("state", "spool", "log", "run", "dev"):
            (folder / name).mkdir(parents=True)
        for number in range(2):
            path = folder / "dev" / f"fakegpu{number}"
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 3 // 4
        port, node_port = free_port(), free_port()
        (folder / "slurm.conf").write_text(
            CONF.format(
                host=self.host, folder=folder, port=port, node_port=node_port, memory=memory
            )
        )
        (folder / "gres.conf").write_text(
            f"AutoDetect=off\nNodeName={self.host} Name=gpu Type=toy "
            f"File={folder}/dev/fakegpu[0-1]\n"
        )
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        ETC.mkdir(exist_ok=True)
        for name in FILES:
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(folder / name)

    def start(self) -> None:
        """Bring the daemons up, and wait for the node."""
        run, log = self.folder / "run", self.folder / "log"
        self._call(
            *("munged", f"--key-file={self.folder}/munge.key", f"--socket={run}/munge.socket"),
            *(f"--pid-file={run}/munged.pid", f"--log-file={log}/munged.log"),
            *(f"--seed-file={self.folder}/munge.seed", "--force"),
        )
        self._call("slurmctld", "-c")
        self.start_node()

    def start_node(self) -> None:
        """Bring the node's daemon up, and wait until it takes jobs."""
        self._call("slurmd", "-N", self.host)
        self.until(lambda: self.said("sinfo", "-h", "-o", "%t").startswith(("idle", "mix")))

    def stop_node(self) -> None:
        """Stop the node's daemon; jobs on it stay."""
        self._stop("slurmd")

    def stop(self) -> None:
        """Cancel what runs, and take everything down."""
        subprocess.run(["scancel", "--full", "-u", "root"], capture_output=True)
        deadline = time.monotonic() + 20
        while self.said("squeue", "-h") and time.monotonic() < deadline:
            time.sleep(0.5)
        for name in ("slurmd", "slurmctld", "munged"):
            self._stop(name)
        for name in FILES:
            if (ETC / name).is_symlink():
                (ETC / name).unlink()

    def said(self, *command: str) -> str:
        """Return what a command prints."""
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip()

    def until(self, holds: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"it never came: {self.said('sinfo')}\n{self.logs()}")
            time.sleep(0.3)

    def jobs(self) -> list[dict[str, str]]:
        """Return the jobs that are there: id, state, comment (which rule), partition."""
        lines = self.said("squeue", "-h", "-o", "%i\t%T\t%k\t%P\t%r").splitlines()
        names = ("id", "state", "comment", "partition", "reason")
        return [dict(zip(names, line.split("\t"), strict=False)) for line in lines]

    def logs(self) -> str:
        """Return the ends of the daemons' logs."""
        return "\n".join(
            path.read_text()[-1500:] for path in (self.folder / "log").glob("slurm*.log")
        )

    def _call(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}\n{self.logs()}")

    def _stop(self, name: str) -> None:
        path = self.folder / "run" / f"{name}.pid"
        if not path.exists():
            return
        pid = int(path.read_text())
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists():
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def local_slurm(folder: Path) -> Iterator[LocalSlurm]:
    """Give a Slurm that is up; skip the tests where this machine lets none come up."""
    slurm = None
    try:
        try:
            slurm = LocalSlurm(folder)
            slurm.start()
        except (OSError, AssertionError) as error:  # no device files, no daemons: a container's
            pytest.skip(f"Slurm can't be brought up here: {error}")
        yield slurm
    finally:
        if slurm is not None:
            slurm.stop()
