"""Tasks: examples with known answers, made from a seed, to be trained on and scored."""
