"""Text to batches: sources, tokenizers, packing. A batch is a function of (seed, step) alone."""
