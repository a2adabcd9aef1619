"""The delta rule on Hopper GPUs: the chunked recurrence of kernels_pallas.gpu."""

from functools import partial

from kernels_pallas.gpu import op
from kernels_pallas.gpu.delta import delta_operands
from kernels_pallas.gpu.support import refusal as refusal

run = partial(op.run, delta_operands)
