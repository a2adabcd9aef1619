"""Commands of the Google Cloud CLI for a TPU slice, and what each of its hosts runs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from jaxlin.config.errors import ConfigError
from jaxlin.config.slices import Topology
from jaxlin.launch.job import MOUNT, RESTART, Job, nfs, plain, shell


@dataclass(frozen=True)
class Slice:
    """A TPU slice to be made. `runtime`: the image of its hosts (None: the generation's)."""

    topology: Topology
    project: str
    zone: str
    share: str | None
    spot: bool = False
    runtime: str | None = None

    def __post_init__(self) -> None:
        plain("--project", self.project, ":")
        plain("--zone", self.zone)
        nfs("--nfs", self.share)
        plain("--runtime", self.image)

    @property
    def image(self) -> str:
        """Software of the hosts. Raises ConfigError where Cloud TPU makes no such slice."""
        found = self.runtime or self.topology.kind.runtime
        if found is None:
            raise ConfigError(
                f"--topology: {self.topology.name} is made by GKE alone; use `jaxlin launch gke`, "
                "or give --runtime if Cloud TPU has it by now"
            )
        return found

    @property
    def place(self) -> tuple[str, str]:
        """Options that every command has."""
        return f"--project={self.project}", f"--zone={self.zone}"


def on_all(job: Job, wanted: Slice, script: str) -> str:
    """Runs a script on all hosts at the same time; fails if it fails on one."""
    return shell(
        ["gcloud", "compute", "tpus", "tpu-vm", "ssh", job.name, *wanted.place, "--worker=all"],
        f"--command={shlex.quote(script)}",
    )


def install(job: Job, wanted: Slice) -> list[str]:
    """The committed code of this folder onto all hosts, the shared folder under MOUNT."""
    server, path = nfs("--nfs", wanted.share)
    archive = f"{job.name}.tar.gz"
    remote = (
        "set -e\n"
        "sudo apt-get install -qq -y nfs-common\n"
        f"sudo mkdir -p {MOUNT}\n"
        f"mountpoint -q {MOUNT} || sudo mount -t nfs {server}:{path} {MOUNT}\n"
        f"sudo chmod 1777 {MOUNT}\n"
        f"rm -rf jaxlin && mkdir jaxlin && tar -xzf {archive} -C jaxlin && cd jaxlin\n"
        "sh scripts/environment.sh .venv '.[tpu]'"
    )
    copy = ["gcloud", "compute", "tpus", "tpu-vm", "scp", archive, f"{job.name}:"]
    return [
        f"git archive --format=tar.gz --output={archive} HEAD",
        shell([*copy, *wanted.place, "--worker=all"]),
        on_all(job, wanted, remote),
    ]


def train(job: Job, wanted: Slice) -> str:
    """The run on all hosts, started again as long as it asks for it."""
    remote = (
        "cd jaxlin || exit 1\n"
        'export PATH="$PWD/.venv/bin:$PATH"\n'
        "while :; do\n"
        "  code=0\n"
        f"  {job.command('--distributed')} || code=$?\n"
        f'  [ "$code" -eq {RESTART} ] || exit "$code"\n'
        "done"
    )
    return on_all(job, wanted, remote)
