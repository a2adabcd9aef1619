"""Ops for linear-attention models, on arrays; usable without jaxlin."""

from kernels_pallas.delta_rule.api import delta_rule as delta_rule
from kernels_pallas.delta_rule.summary import delta_rule_summary as delta_rule_summary
from kernels_pallas.dispatch import ImplementationError as ImplementationError
from kernels_pallas.explain import explain as explain
from kernels_pallas.linear_attention.api import linear_attention as linear_attention
from kernels_pallas.linear_attention.bidirectional import (
    bidirectional_linear_attention as bidirectional_linear_attention,
)
from kernels_pallas.linear_attention.summary import (
    linear_attention_summary as linear_attention_summary,
)
from kernels_pallas.linear_recurrence.api import linear_recurrence as linear_recurrence
from kernels_pallas.linear_recurrence.summary import (
    linear_recurrence_summary as linear_recurrence_summary,
)
from kernels_pallas.monoid import Summary as Summary
from kernels_pallas.per_device import per_device as per_device
