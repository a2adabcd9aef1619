"""Token mixers, one file each; `build` makes one from its config."""

from jaxlin.mixers.base import Mixer as Mixer
from jaxlin.mixers.base import RecurrentCache as RecurrentCache
from jaxlin.mixers.base import build as build
from jaxlin.mixers.base import init_cache as init_cache
from jaxlin.mixers.base import rows as rows
