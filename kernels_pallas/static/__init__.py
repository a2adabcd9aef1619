"""TPU kernels looked at without a TPU: compiled for a chip, counted, never run."""

from kernels_pallas.static.chips import CHIPS as CHIPS
from kernels_pallas.static.chips import tracing_for as tracing_for
from kernels_pallas.static.compiling import ENVIRONMENT as ENVIRONMENT
from kernels_pallas.static.compiling import LibtpuMissing as LibtpuMissing
from kernels_pallas.static.compiling import compile_for as compile_for
from kernels_pallas.static.costs import Costs as Costs
from kernels_pallas.static.costs import KernelCost as KernelCost
from kernels_pallas.static.costs import static_cost as static_cost
from kernels_pallas.static.hlo import Copy as Copy
from kernels_pallas.static.hlo import copies as copies
from kernels_pallas.static.process import CompileError as CompileError
