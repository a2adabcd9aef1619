"""The config of a run: everything that decides its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxlin.config.exchange import Exchange
from jaxlin.config.guard import Guard
from jaxlin.config.kinds import AnyAdapter, AnyOptimizer, AnySchedule, AnySource, AnyTask
from jaxlin.config.model import LM, Loss
from jaxlin.config.optimizers.adamw import AdamW
from jaxlin.config.schedules.shapes import Cosine
from jaxlin.config.sources.text import Stdlib
from jaxlin.config.types import (
    Name,
    NonNegativeInt,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Seed,
)

FORMAT_VERSION = 1


BATCH_AXES = ("data", "fsdp")  # of the mesh: what a batch is split over
HEAD_AXES = ("tensor",)  # what heads are split over
TIME_AXES = ("seq",)  # what a sequence is split over, in contiguous slices


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Sizes of the device mesh; data=-1 takes the devices that the others leave."""

    data: int = -1
    fsdp: PositiveInt = 1
    tensor: PositiveInt = 1
    seq: PositiveInt = 1
    exchange: Exchange = field(default_factory=Exchange)  # along seq
    allow_unused_devices: bool = False


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When to save and what to keep."""

    every: PositiveInt = 1000  # steps
    minutes: PositiveFloat | None = 15.0  # also after this much time
    keep: PositiveInt = 2  # latest ones
    keep_best: NonNegativeInt = 1  # by held-out loss


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Held-out evaluation during training."""

    every: NonNegativeInt = 1000  # steps; 0: only at the end
    batches: PositiveInt | None = 16  # None: all held-out windows
    tasks: tuple[AnyTask, ...] = ()  # scored as well; none: the task that is trained on, if it is


@dataclass(frozen=True, kw_only=True)
class Log:
    """What a run writes while it goes."""

    every: PositiveInt = 10  # steps
    tensorboard: bool = True
    wandb: Name | None = None  # project on Weights & Biases
    stats: bool = True  # decays, gates and states of recurrent layers at each evaluation
    samples: NonNegativeInt = 0  # tokens that the model writes at each evaluation


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run. A preset is a function that returns one."""

    name: Name
    seed: Seed = 0
    steps: PositiveInt = 1000
    batch: PositiveInt = 32  # sequences a step, over all devices
    context: PositiveInt = 512  # tokens a sequence
    accumulate: PositiveInt = 1  # micro-batches a step
    ema: OpenFraction | None = None  # decay of the averaged parameters
    model: LM = field(default_factory=LM)
    loss: Loss = field(default_factory=Loss)
    data: AnySource = field(default_factory=Stdlib)
    optim: AnyOptimizer = field(default_factory=AdamW)
    schedule: AnySchedule = field(default_factory=Cosine)
    mesh: Mesh = field(default_factory=Mesh)
    adapters: tuple[AnyAdapter, ...] = ()  # with adapters only they are trained
    init_from: str | None = None  # run directory: start from its parameters
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    eval: Eval = field(default_factory=Eval)
    log: Log = field(default_factory=Log)
    guard: Guard = field(default_factory=Guard)
