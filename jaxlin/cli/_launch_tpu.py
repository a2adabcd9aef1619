"""`jaxlin launch tpu-vm | queued | gke`: a TPU slice."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jaxlin.cli import _launch_engine
from jaxlin.cli._launch_engine import Rendered, printing

if TYPE_CHECKING:
    from jaxlin.config.run import RunConfig
    from jaxlin.config.slices import Topology
    from jaxlin.launch.gcloud import Slice


def _add(parser: argparse.ArgumentParser) -> None:
    _launch_engine.add(parser)
    parser.add_argument(
        "--topology", default="v5e:4x4", metavar="GEN:SHAPE", help="of the slice (v5e:4x4)"
    )
    parser.add_argument(
        "--nfs", metavar="SERVER:/PATH", help="network file system for the run directory (needed)"
    )
    parser.add_argument("--spot", action="store_true", help="cheaper, may be taken away")


def _add_slice(parser: argparse.ArgumentParser) -> None:
    _add(parser)
    parser.add_argument("--project", required=True, help="of Google Cloud")
    parser.add_argument("--zone", required=True, help="that has such slices")
    parser.add_argument("--runtime", help="software version of the hosts (the generation's)")


def _add_gke(parser: argparse.ArgumentParser) -> None:
    _add(parser)
    parser.add_argument("--image", required=True, help="container image with jaxlin[tpu]")
    parser.add_argument("--namespace", default="default", help="of Kubernetes (default)")


def _topology(args: argparse.Namespace, cfg: RunConfig) -> Topology:
    from jaxlin.config.slices import parse
    from jaxlin.launch import fit

    found = parse(args.topology)
    fit.check(cfg, found.hosts, found.chips_each * found.kind.devices, str(found))
    return found


def _slice(args: argparse.Namespace, cfg: RunConfig) -> Slice:
    from jaxlin.launch.gcloud import Slice

    found = _topology(args, cfg)
    return Slice(found, args.project, args.zone, args.nfs, args.spot, args.runtime)


def _tpu_vm(args: argparse.Namespace, cfg: RunConfig) -> Rendered:
    from jaxlin.launch import tpu_vm
    from jaxlin.launch.job import MOUNT

    wanted = _slice(args, cfg)
    job = _launch_engine.job(args, cfg, MOUNT)
    return Rendered(tpu_vm.render(job, wanted), _script(job.name))


def _queued(args: argparse.Namespace, cfg: RunConfig) -> Rendered:
    from jaxlin.launch import queued
    from jaxlin.launch.job import MOUNT

    wanted = _slice(args, cfg)
    job = _launch_engine.job(args, cfg, MOUNT)
    return Rendered(queued.render(job, wanted), _script(job.name))


def _script(name: str) -> str:
    """Not through a pipe: ssh would read the rest of the script as its input."""
    return f"> {name}.sh && bash {name}.sh"


def _gke(args: argparse.Namespace, cfg: RunConfig) -> Rendered:
    from jaxlin.launch import gke
    from jaxlin.launch.job import MOUNT

    cluster = gke.Cluster(_topology(args, cfg), args.image, args.nfs, args.spot, args.namespace)
    text = gke.render(_launch_engine.job(args, cfg, MOUNT), cluster)
    return Rendered(text, "| kubectl apply -f -")


ENGINES = {
    "tpu-vm": printing("commands for a TPU slice that is made at once", _add_slice, _tpu_vm),
    "queued": printing("a script for a TPU slice that is waited for", _add_slice, _queued),
    "gke": printing("a JobSet for TPU nodes of a GKE cluster", _add_gke, _gke),
}
