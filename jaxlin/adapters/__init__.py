"""Adapters: deltas of weights and functions at sites, as pure functions on trees of arrays."""

from jaxlin.adapters.files import base_digest as base_digest
from jaxlin.adapters.files import load as load
from jaxlin.adapters.files import save as save
from jaxlin.adapters.lowrank import LowRank as LowRank
from jaxlin.adapters.sites import weight_sites as weight_sites
from jaxlin.adapters.tree import attach as attach
from jaxlin.adapters.tree import merge as merge
