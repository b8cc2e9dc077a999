"""A SLURM cluster of one node, in a temporary folder: munged, slurmctld and slurmd as processes of the test.

Needs Debian's ``slurm-wlm`` and ``munge`` and nothing of the system's: no systemd, no cgroups, no accounting, no
configuration below /etc. `sacct`, which submitit asks how a job ended, has nothing to say without a database; a
stand-in asks slurmctld instead.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "sinfo", "squeue", "scontrol")

#: Two jobs of one CPU each run at a time, whatever the machine has (config_overrides).
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

#: The columns that submitit asks for; array jobs that wait are shown together and left out.
SACCT = r"""#!/bin/sh
echo 'JobID|State|NodeList'
scontrol -o show jobs | sed -nE \
  -e 's/^JobId=[0-9]+ ArrayJobId=([0-9]+) ArrayTaskId=([0-9]+) .*JobState=([A-Z_]+) .*/\1_\2|\3|/p' \
  -e 's/^JobId=([0-9]+) JobName=.*JobState=([A-Z_]+) .*/\1|\2|/p'
"""


def missing() -> list[str]:
    """Programs of SLURM that this machine has not."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


@contextlib.contextmanager
def cluster(patience: float = 60.0) -> Iterator[dict[str, str]]:
    """Start a cluster, and stop it with all its jobs.

    Args:
        patience: seconds that it may take until jobs can be sent.

    Yields:
        The environment for those who send jobs: the test's own with ``SLURM_CONF`` and ``PATH``.

    Raises:
        RuntimeError: a daemon ended or no job can be sent; with the end of the daemons' logs.
    """
    # Not pytest's own folder: the name of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, contextlib.ExitStack() as daemons:
        folder = Path(name)
        environment = _prepare(folder)
        socket_file = folder / "munge.socket"

        def start(*command: str) -> subprocess.Popen[bytes]:
            log = (folder / f"{command[0]}.out").open("wb")
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            daemons.callback(log.close)
            daemons.callback(_stop, process)
            return process

        munged = start(
            *("munged", "--foreground", "--force", f"--socket={socket_file}", f"--key-file={folder}/munge.key"),
            *(f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munged.seed"),
            f"--log-file={folder}/munged.log",
        )
        try:
            until(socket_file.exists, patience, munged)
            controller = start("slurmctld", "-D")
            node = start("slurmd", "-D")
            until(lambda: _answer(environment, "sinfo", "-h", "-o", "%T") == "idle", patience, controller, node)
        except TimeoutError as error:
            raise RuntimeError(f"the cluster did not start\n{_logs(folder)}") from error
        daemons.callback(_cancel_all, environment, patience)
        yield environment


def until(reached: Callable[[], bool], patience: float, *processes: subprocess.Popen[bytes]) -> None:
    """Ask until it is so; TimeoutError after `patience` seconds, or where one of the processes has ended."""
    deadline = time.monotonic() + patience
    while not reached():
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            raise TimeoutError
        time.sleep(0.1)


def queue(environment: dict[str, str]) -> list[str]:
    """Jobs that wait or run."""
    return _answer(environment, "squeue", "-h", "-r", "-o", "%i").split()


def _prepare(folder: Path) -> dict[str, str]:
    """Write what the daemons read, and say what their clients need in the environment."""
    # munged's clients are other users on a real machine, and slurmd lets jobs read its folder.
    folder.chmod(0o755)
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    (folder / "bin" / "sacct").write_text(SACCT)
    (folder / "bin" / "sacct").chmod(0o755)
    controller_port, node_port = _free_ports()
    said = CONF.format(
        host=socket.gethostname().split(".")[0],
        user=getpass.getuser(),
        folder=folder,
        controller_port=controller_port,
        node_port=node_port,
    )
    (folder / "slurm.conf").write_text(said)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH", "SRUN"))}
    return {**clean, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder / 'bin'}:{_path()}"}


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _path() -> str:
    """Where programs are; the daemons are not on the path of every user."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _answer(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout.strip()


def _cancel_all(environment: dict[str, str], patience: float) -> None:
    if jobs := queue(environment):
        _answer(environment, "scancel", "--signal=KILL", *jobs)
        with contextlib.suppress(TimeoutError):
            until(lambda: not queue(environment), patience)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _logs(folder: Path) -> str:
    files = sorted([*folder.glob("*.log"), *folder.glob("*.out")])
    return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')[-2000:]}" for file in files)
