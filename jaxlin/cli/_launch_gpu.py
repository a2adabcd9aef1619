"""`jaxlin launch slurm | skypilot`: nodes of GPUs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jaxlin.cli import _launch_engine
from jaxlin.cli._launch_engine import Rendered, printing

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig


def _add_slurm(parser: argparse.ArgumentParser) -> None:
    _launch_engine.add(parser)
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="how many (1)")
    parser.add_argument("--gpus-per-node", type=int, default=8, metavar="G", help="(8)")
    parser.add_argument(
        "--task", choices=("gpu", "node"), default="gpu", help="what one process has (gpu)"
    )
    parser.add_argument("--time", default="24:00:00", help="limit of a start (24:00:00)")
    parser.add_argument("--partition", help="of the cluster")
    parser.add_argument("--account", help="that pays")
    parser.add_argument("--venv", default=".venv", help="environment with jaxlin[cuda] (.venv)")


def _add_skypilot(parser: argparse.ArgumentParser) -> None:
    _launch_engine.add(parser)
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="how many (1)")
    parser.add_argument("--accelerator", default="H100:8", help="of each node (H100:8)")
    parser.add_argument("--bucket", help="gs:// or s3://, for the run directory (needed)")
    parser.add_argument("--infra", help="cloud, or cloud/region (the cheapest)")
    parser.add_argument("--spot", action="store_true", help="cheaper, may be taken away")


def _slurm(args: argparse.Namespace, cfg: RunConfig) -> Rendered:
    from jaxlin.launch import fit, slurm

    nodes = slurm.Nodes(
        args.nodes,
        args.gpus_per_node,
        args.task,
        args.time,
        args.partition,
        args.account,
        args.venv,
    )
    each = nodes.gpus // nodes.tasks_each
    fit.check(
        cfg, nodes.count * nodes.tasks_each, each, f"{nodes.count} nodes of {nodes.gpus} GPUs"
    )
    text = slurm.render(_launch_engine.job(args, cfg, "runs"), nodes)
    return Rendered(text, "| sbatch")


def _skypilot(args: argparse.Namespace, cfg: RunConfig) -> Rendered:
    from jaxlin.launch import fit, skypilot
    from jaxlin.launch.job import MOUNT

    nodes = skypilot.Nodes(args.nodes, args.accelerator, args.bucket, args.infra, args.spot)
    fit.check(cfg, nodes.count, nodes.gpus, f"{nodes.count} nodes of {nodes.accelerator}")
    job = _launch_engine.job(args, cfg, MOUNT)
    pipe = f"> {job.name}.yaml && sky jobs launch {job.name}.yaml"
    return Rendered(skypilot.render(job, nodes), pipe)


ENGINES = {
    "slurm": printing("a batch script for a GPU cluster", _add_slurm, _slurm),
    "skypilot": printing("a task for GPU nodes of any cloud", _add_skypilot, _skypilot),
}
