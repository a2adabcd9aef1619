"""LASP-2 and LASP-2H (Sun et al. 2025, arXiv 2502.07563): what their layers send as slices grow."""
