"""The hybrid-ratio study: its grids at three scales, the published tables, what was measured."""
