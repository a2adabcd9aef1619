"""jaxlin: linear-attention and hybrid sequence models in JAX/Flax."""
