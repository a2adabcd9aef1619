"""`jaxlin launch`: one run on many processes, started here or printed for an engine."""

from __future__ import annotations

import argparse
from pathlib import Path

from jaxlin.cli import _launch_gpu, _launch_local, _launch_tpu, _switches, common
from jaxlin.cli._launch_engine import Engine
from jaxlin.cli.main import Parser

HELP = "train on many processes: started here, or as commands for a cluster"
EXAMPLE = """jaxlin launch local -n 4 quickstart batch=8 steps=40
  jaxlin launch slurm --nodes 8 gla_340m --print | sbatch"""
SLICE = "--topology v5e:4x4 --nfs 10.0.0.2:/runs --print"
CLOUD = f"gla_340m --project my-project --zone us-west4-a {SLICE}"
EXAMPLES = {
    "local": "local -n 4 quickstart batch=8 steps=40",
    "tpu-vm": f"tpu-vm {CLOUD}",
    "queued": f"queued {CLOUD} --spot",
    "gke": f"gke gla_340m --image us-docker.pkg.dev/my-project/ml/jaxlin:1 {SLICE}",
    "slurm": "slurm gla_340m --nodes 8 --partition gpu --print",
    "skypilot": "skypilot gla_340m --nodes 8 --bucket gs://my-runs --spot --print",
}
LOCAL = {"local": Engine(_launch_local.HELP, _launch_local.add, _launch_local.run)}
ENGINES = LOCAL | _launch_tpu.ENGINES | _launch_gpu.ENGINES


class _Intermixed(Parser):
    """Overrides may stand before and after options, as in the commands without sub-commands."""

    _inside = False

    def parse_known_args(self, args=None, namespace=None):  # pyright: ignore
        """What the parser above calls."""
        if self._inside:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False


def add(parser: argparse.ArgumentParser) -> None:
    """Adds one sub-command an engine."""
    engines = parser.add_subparsers(
        dest="engine", metavar="ENGINE", required=True, parser_class=_Intermixed
    )
    for name, engine in ENGINES.items():
        below = engines.add_parser(
            name,
            help=engine.help,
            description=engine.help,
            epilog=f"example:\n  jaxlin launch {EXAMPLES[name]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        engine.add(below)
        common.add(below)
        below.add_argument(
            "--run", metavar="DIR", type=Path, help="run directory, which all processes see"
        )
        _switches.add(below)


def run(args: argparse.Namespace) -> int:
    """Checks the config, then starts or prints."""
    return ENGINES[args.engine].run(args, common.resolve(args))
