"""Linear attention on Hopper GPUs: the chunked recurrence of kernels_pallas.gpu."""

from functools import partial

from kernels_pallas.gpu import op
from kernels_pallas.gpu.head import head_operands
from kernels_pallas.gpu.support import refusal as refusal

run = partial(op.run, head_operands)
