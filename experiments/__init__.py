"""Published systems, checked: a folder each, with its card (README.md) and its figures."""
