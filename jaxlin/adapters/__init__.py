"""Adapters: deltas of weights and functions at sites, as pure functions on trees."""
