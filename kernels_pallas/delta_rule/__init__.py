"""The delta rule: state with transition (I - beta k k^T), optionally decaying."""

from kernels_pallas.delta_rule.api import delta_rule as delta_rule
from kernels_pallas.delta_rule.summary import delta_rule_summary as delta_rule_summary
