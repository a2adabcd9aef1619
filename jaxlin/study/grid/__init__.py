"""A study of mixers and ratios: from the records of a sweep to one page and its tables."""
