"""A TPU slice by `gcloud compute tpus tpu-vm create`: at once or not at all."""

from __future__ import annotations

from jaxlin.launch import gcloud
from jaxlin.launch.gcloud import Slice
from jaxlin.launch.job import SCRIPT, Job, shell


def render(job: Job, wanted: Slice) -> str:
    """A bash script: makes the slice, installs, trains. The slice stays until it is deleted."""
    tpus = ["gcloud", "compute", "tpus", "tpu-vm"]
    create = shell(
        [*tpus, "create", job.name, *wanted.place],
        [f"--accelerator-type={wanted.topology.accelerator}", f"--version={wanted.image}"],
        *([["--spot"]] if wanted.spot else []),
    )
    delete = " ".join([*tpus, "delete", job.name, *wanted.place])
    parts = [
        SCRIPT,
        f"# {job.name} on {wanted.topology}; run it in the folder of the code, committed",
        "set -euo pipefail",
        create,
        *gcloud.install(job, wanted),
        gcloud.train(job, wanted),
        f"echo 'done; the slice costs until it is deleted: {delete}'",
    ]
    return "\n".join(parts) + "\n"
