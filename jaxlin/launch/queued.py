"""A TPU slice by `gcloud compute tpus queued-resources create`: waited for, and made again when a
spot slice is taken away."""

from __future__ import annotations

from jaxlin.launch import gcloud
from jaxlin.launch.gcloud import Slice
from jaxlin.launch.job import RESTARTS, SCRIPT, Job, shell

WAIT = 30  # seconds between two looks


def render(job: Job, wanted: Slice) -> str:
    """A bash script that runs until the training is done."""
    queue = ["gcloud", "compute", "tpus", "queued-resources"]
    create = shell(
        [*queue, "create", job.name, f"--node-id={job.name}", *wanted.place],
        [f"--accelerator-type={wanted.topology.accelerator}", f"--runtime-version={wanted.image}"],
        *([["--spot"]] if wanted.spot else []),
    )
    state = shell([*queue, "describe", job.name, *wanted.place, "--format=value(state.state)"])
    delete = shell([*queue, "delete", job.name, *wanted.place, "--force", "--quiet"])
    install = " &&\n".join(gcloud.install(job, wanted))  # errexit means nothing after `if`
    return f"""{SCRIPT}
# {job.name} on {wanted.topology}; run it in the folder of the code, committed
set -uo pipefail
create() {{
{create}
}}
state() {{
{state}
}}
delete() {{
{delete}
}}
install() {{
{install}
}}
train() {{
{gcloud.train(job, wanted)}
}}
for attempt in $(seq {RESTARTS}); do
  if [ "$(state 2>/dev/null)" != ACTIVE ]; then
    create || exit 1
    until [ "$(state)" = ACTIVE ]; do
      case "$(state)" in
        FAILED | SUSPENDING | SUSPENDED) echo 'the request was not filled' >&2; delete; exit 1 ;;
      esac
      sleep {WAIT}
    done
  fi
  if install && train; then
    echo 'done; the slice costs until it is deleted:' {job.name}
    exit 0
  fi
  if [ "$(state)" = ACTIVE ]; then
    echo 'the run ended with an error; the slice is still there' >&2
    exit 1
  fi
  echo "the slice was taken away (start $attempt); a new one goes on from the newest checkpoint"
  delete || exit 1
done
exit 1
"""
