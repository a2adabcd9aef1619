"""Linear attention: an additive matrix memory with every form of decay."""
