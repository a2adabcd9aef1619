"""Where a run's numbers go beside metrics.jsonl: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxlin.config.errors import ConfigError
from jaxlin.config.plain import plain
from jaxlin.config.run import Log, RunConfig

WANDB_ID = "wandb.txt"


@runtime_checkable
class Writer(Protocol):
    """Takes what is recorded. metrics.jsonl has it already, so a writer may lose some."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name, such as "train/loss"."""
        ...

    def text(self, step: int, name: str, text: str) -> None:
        """A text, such as a sample."""
        ...

    def close(self) -> None:
        """Ends the files or the connection."""
        ...


def check(log: Log) -> None:
    """Raises ConfigError when a writer that the config names is not installed."""
    if log.wandb is not None and importlib.util.find_spec("wandb") is None:
        raise ConfigError(
            f"log.wandb: {log.wandb!r} needs the wandb library: pip install 'jaxlin[wandb]', or "
            "leave it unset (metrics.jsonl and `jaxlin report` have the same numbers)"
        )


def build(run: Path, cfg: RunConfig) -> list[Writer]:
    """The writers that a config asks for."""
    check(cfg.log)
    found: list[Writer] = [TensorBoard(run)] if cfg.log.tensorboard else []
    if cfg.log.wandb is not None:
        found.append(WeightsAndBiases(run, cfg.log.wandb, cfg))
    return found


def scalars(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """The numbers in nested records by joined names, without lists and what no curve can show."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}/{name}")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield f"{prefix}/{name}", value


class TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(self, run: Path):
        from tensorboardX import SummaryWriter

        self._board = SummaryWriter(str(run / "tensorboard"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One series a name."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        """Indented: Markdown then shows it as it is."""
        self._board.add_text(name, "".join(f"    {line}\n" for line in text.splitlines()), step)

    def close(self) -> None:
        """Writes the rest."""
        self._board.close()


class WeightsAndBiases:
    """A W&B run under the run directory's name; a resumed run goes on with the same one.

    Repeated steps are sent again: the x axis is the field `step`, not W&B's own counter, which
    refuses to go back.
    """

    def __init__(self, run: Path, project: str, cfg: RunConfig):
        import wandb  # pyright: ignore[reportMissingImports]

        self._run = wandb.init(
            project=project,
            name=run.name,
            id=_own_id(run, wandb.util.generate_id),
            resume="allow",
            dir=str(run),
            config=plain(cfg),
        )
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One call a record."""
        self._run.log({"step": step, **values})

    def text(self, step: int, name: str, text: str) -> None:
        """The newest text of each name, in the summary."""
        self._run.summary[name] = f"step {step}\n{text}"

    def close(self) -> None:
        """Waits for what is on its way."""
        self._run.finish()


def _own_id(run: Path, generate: Any) -> str:
    path = run / WANDB_ID
    if not path.exists():
        path.write_text(generate() + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
