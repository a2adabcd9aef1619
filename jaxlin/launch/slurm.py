"""A SLURM batch script for GPUs: one task a GPU or a node, queued again when told to stop."""

from __future__ import annotations

from dataclasses import dataclass

from jaxlin.config.errors import ConfigError
from jaxlin.launch.job import RESTART, RESTARTS, SCRIPT, Job, plain, positive, shell

NOTICE = 300  # seconds before the time limit at which it is told to stop
LEAVING = 120  # seconds that the other tasks have when the first has ended


@dataclass(frozen=True)
class Nodes:
    """`gpus` of each node; `task`: "gpu" or "node", what one process has."""

    count: int
    gpus: int = 8
    task: str = "gpu"
    time: str = "24:00:00"
    partition: str | None = None
    account: str | None = None
    venv: str = ".venv"

    def __post_init__(self) -> None:
        positive("--nodes", self.count, 4096)
        positive("--gpus-per-node", self.gpus, 16)
        plain("--time", self.time, ":")
        for option, value in (("--partition", self.partition), ("--account", self.account)):
            if value is not None:
                plain(option, value, ",")
        if not self.venv.isprintable() or not self.venv:
            raise ConfigError(f"--venv: {self.venv!r} is no folder")

    @property
    def tasks_each(self) -> int:
        return self.gpus if self.task == "gpu" else 1


def render(job: Job, nodes: Nodes) -> str:
    """The script, for `sbatch`."""
    options = [
        f"--job-name={job.name}",
        f"--nodes={nodes.count}",
        f"--ntasks-per-node={nodes.tasks_each}",
        f"--gpus-per-node={nodes.gpus}",
        f"--time={nodes.time}",
        *([f"--partition={nodes.partition}"] if nodes.partition else []),
        *([f"--account={nodes.account}"] if nodes.account else []),
        f"--output={job.name}-%j.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{NOTICE}",
    ]
    lines = [SCRIPT, *(f"#SBATCH {option}" for option in options), "", _body(job, nodes)]
    return "\n".join(lines)


def _body(job: Job, nodes: Nodes) -> str:
    devices = ",".join(map(str, range(nodes.gpus)))
    # Under SLURM JAX takes one GPU a task unless it is told otherwise.
    all_gpus = f"export JAX_LOCAL_DEVICE_IDS={devices}\n" if nodes.task == "node" else ""
    step = shell(f"srun --kill-on-bad-exit=0 --wait={LEAVING}", job.command("--distributed"))
    return f"""set -u
cd "$SLURM_SUBMIT_DIR"
export PATH={shell([nodes.venv])}/bin:"$PATH"
{all_gpus}
# The time is nearly over, or others need the nodes: all tasks save and end with code {RESTART}.
tell() {{
  told=yes
  scancel --signal=TERM "$SLURM_JOB_ID"
}}
trap tell USR1 TERM
{step} &
step=$!
while :; do
  told=no
  wait "$step"
  code=$?
  # A signal ends the waiting, not the step.
  [ "$told" = yes ] && [ "$code" -gt 128 ] || break
done
if [ "$code" -eq {RESTART} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {RESTARTS} ]; then
  scontrol requeue "$SLURM_JOB_ID"
  sleep {LEAVING} # it is ended by being queued again
fi
exit "$code"
"""
