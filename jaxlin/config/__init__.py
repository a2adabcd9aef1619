"""Configs: frozen dataclasses, kinds by registry, typed overrides, errors. Imports no jax.

from jaxlin.config import preset, to_json
from jaxlin.config.override import override
print(to_json(override(preset("tiny"), ["model.mixer=gla", "optim.lr=1e-3"])))
"""

from jaxlin.config.errors import ConfigError, DataError, JaxlinError
from jaxlin.config.load import difference, from_json, read, to_json, validate
from jaxlin.config.presets import names, preset
from jaxlin.config.run import RunConfig

__all__ = [
    "ConfigError",
    "DataError",
    "JaxlinError",
    "RunConfig",
    "difference",
    "from_json",
    "names",
    "preset",
    "read",
    "to_json",
    "validate",
]
