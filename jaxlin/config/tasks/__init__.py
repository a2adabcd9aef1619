"""Configs of the tasks, one module a family; each module registers its kinds."""
