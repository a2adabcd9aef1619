"""A SkyPilot task: nodes of GPUs on any cloud, found again when a spot node is taken away."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jaxlin.config.errors import ConfigError
from jaxlin.launch import yaml
from jaxlin.launch.job import MOUNT, RESTART, Job, plain, positive

PORT = 8476
ERRORS = 3  # restarts after other exit codes: a node that broke looks like an error of ours


@dataclass(frozen=True)
class Nodes:
    """`accelerator` of each node: H100:8. `bucket`: s3:// or gs://, for the run directories."""

    count: int
    accelerator: str = "H100:8"
    bucket: str | None = None
    infra: str | None = None
    spot: bool = False

    def __post_init__(self) -> None:
        positive("--nodes", self.count, 4096)
        if not re.fullmatch(r"[A-Za-z0-9-]{1,40}:[1-9]\d?", self.accelerator):
            raise ConfigError(
                f"--accelerator: {self.accelerator!r} is not NAME:COUNT, such as H100:8"
            )
        if not re.fullmatch(r"(s3|gs|r2|cos|oci)://[A-Za-z0-9._/-]{3,}", self.bucket or ""):
            what = "missing" if self.bucket is None else repr(self.bucket)
            raise ConfigError(
                f"--bucket: {what}; give gs://NAME or s3://NAME: all nodes write and read the "
                "checkpoints there"
            )
        if self.infra is not None:
            plain("--infra", self.infra, "/")

    @property
    def gpus(self) -> int:
        return int(self.accelerator.partition(":")[2])


def render(job: Job, nodes: Nodes) -> str:
    """The task, for `sky jobs launch`."""
    task = {
        "name": job.name,
        "num_nodes": nodes.count,
        "workdir": ".",
        "resources": {
            **({"infra": nodes.infra} if nodes.infra else {}),
            "accelerators": nodes.accelerator,
            "use_spot": nodes.spot,
            "job_recovery": {
                "max_restarts_on_errors": ERRORS,
                "recover_on_exit_codes": [RESTART],
            },
        },
        "file_mounts": {MOUNT: {"source": nodes.bucket, "mode": "MOUNT"}},
        "setup": "sh scripts/environment.sh .venv '.[cuda]'",
        "run": _run(job),
    }
    about = [f"{job.name} on {nodes.count} nodes of {nodes.accelerator}, one process a node."]
    return yaml.commented(about, yaml.dump(task))


def _run(job: Job) -> str:
    group = (
        '--coordinator "$first:' + str(PORT) + '"',
        '--processes "$SKYPILOT_NUM_NODES"',
        '--process-id "$SKYPILOT_NODE_RANK"',
    )
    return (
        'export PATH="$PWD/.venv/bin:$PATH"\n'
        'first=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)\n'
        f"exec {job.command(*group)}"
    )
