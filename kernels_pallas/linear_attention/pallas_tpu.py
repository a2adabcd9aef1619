"""Linear attention on TPU: the chunked recurrence of kernels_pallas.tpu."""

from kernels_pallas.tpu.op import run as run
from kernels_pallas.tpu.plan import candidates as candidates
from kernels_pallas.tpu.plan import refusal as refusal
