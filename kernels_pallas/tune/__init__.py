"""Finds block sizes for the kernels: `python -m kernels_pallas.tune --help`."""
