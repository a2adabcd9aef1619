"""Matrix products of a traced step, also inside of kernels, with loops and grids multiplied out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Products(NamedTuple):
    """FLOPs; multiply and add count one each.

    plain: of the whole step, over all devices, outside of kernels. kernels: of one device.
    unknown: loops whose trips nothing tells; their bodies count once.
    """

    plain: int
    kernels: int
    unknown: int


def products(jaxpr: Any, devices: int) -> Products:
    """Counts a (closed) jaxpr for a mesh of so many devices."""
    plain = kernels = unknown = 0
    for eqn, times, local, trips_known in _walk(getattr(jaxpr, "jaxpr", jaxpr), 1, False):
        unknown += not trips_known
        name = eqn.primitive.name
        if name == "dot_general":
            plain += times * dot_flops(eqn) * (devices if local else 1)
        elif name == "conv_general_dilated":
            plain += times * conv_flops(eqn) * (devices if local else 1)
        elif name == "pallas_call":
            kernels += times * kernel_flops(eqn)
    return Products(plain, kernels, unknown)


def _walk(jaxpr: Any, times: int, local: bool) -> Iterator[tuple[Any, int, bool, bool]]:
    """Equations with how often they run, and whether inside `shard_map`: of one device."""
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        yield eqn, times, local, name != "while"
        if name == "pallas_call":
            continue
        if name == "cond":
            inner = [max(eqn.params["branches"], key=lambda b: _weight(b.jaxpr)).jaxpr]
        else:
            inner = list(inner_jaxprs(eqn))
        more = eqn.params["length"] if name == "scan" else 1
        for each in inner:
            yield from _walk(each, times * more, local or name == "shard_map")


def _weight(jaxpr: Any) -> int:
    found = _walk(jaxpr, 1, False)
    return sum(t * dot_flops(e) for e, t, *_ in found if e.primitive.name == "dot_general")


def inner_jaxprs(eqn: Any) -> Iterator[Any]:
    """The jaxprs that an equation holds."""
    for name, value in eqn.params.items():
        if name in ("jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd", "num_consts", "grid_mapping"):
            continue
        for each in value if isinstance(value, (tuple, list)) else (value,):
            each = getattr(each, "jaxpr", each)
            if hasattr(each, "eqns"):
                yield each


def dot_flops(eqn: Any) -> int:
    """2 * batch * rows * columns * terms."""
    (contracting, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval.shape
    return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[d] for d in contracting)


def conv_flops(eqn: Any) -> int:
    """2 * elements of the result * window * inputs of a group."""
    numbers = eqn.params["dimension_numbers"]
    kernel = eqn.invars[1].aval.shape
    out = numbers.rhs_spec[0]
    terms = math.prod(size for d, size in enumerate(kernel) if d != out)
    return 2 * math.prod(eqn.outvars[0].aval.shape) * terms


def kernel_flops(eqn: Any) -> int:
    """Matrix products of a kernel over its grid; a branch counts in the steps that take it."""
    grid = tuple(int(n) for n in eqn.params["grid_mapping"].grid)
    steps = np.indices(grid, np.int64).reshape(len(grid), -1) if grid else np.zeros((0, 1), int)
    place = Place(steps, grid)
    return round(_kernel(eqn.params["jaxpr"], (), np.ones(steps.shape[1]), place)[0])


class Place(NamedTuple):
    """All steps of a grid, [axes, steps], and its sizes."""

    steps: Any
    grid: tuple[int, ...]


def _kernel(jaxpr: Any, inputs: Any, taken: Any, place: Place) -> tuple[float, list[Any]]:
    """FLOPs over the grid steps, and the results that follow from the place in the grid.

    taken: how often each step runs this jaxpr. Scalars that follow from the place are computed for
    all steps at once; None stands for others. What branches on those counts its larger branch.
    """
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    values: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=False))
    total = 0.0
    for eqn in jaxpr.eqns:
        arguments = [_value(var, values) for var in eqn.invars]
        flops, results = _equation(eqn, arguments, taken, place)
        total += flops
        values.update(zip(eqn.outvars, results, strict=False))
    return total, [_value(var, values) for var in jaxpr.outvars]


def _equation(eqn: Any, arguments: Any, taken: Any, place: Place) -> tuple[float, list[Any]]:
    name = eqn.primitive.name
    if name == "dot_general":
        return dot_flops(eqn) * taken.sum(), []
    if name == "program_id":
        return 0.0, [place.steps[eqn.params["axis"]]]
    if name == "num_programs":
        return 0.0, [np.full(place.steps.shape[1], place.grid[eqn.params["axis"]])]
    if name == "cond":
        return _branches(eqn, arguments, taken, place), []
    if name in ("scan", "while"):
        more = eqn.params.get("length", 1)
        return sum(_kernel(each, (), taken * more, place)[0] for each in inner_jaxprs(eqn)), []
    inner = list(inner_jaxprs(eqn))
    if inner:
        return _kernel(inner[0], arguments, taken, place)
    return 0.0, _computed(eqn, arguments)


def _branches(eqn: Any, arguments: Any, taken: Any, place: Place) -> float:
    index, *passed = arguments
    counts = []
    for i, branch in enumerate(eqn.params["branches"]):
        here = taken if index is None else taken * (np.asarray(index).astype(int) == i)
        counts.append(_kernel(branch, passed, here, place)[0])
    return max(counts) if index is None else sum(counts)


def _value(var: Any, values: Mapping[Any, Any]) -> Any:
    """Of a literal or a known scalar; None where it is not known."""
    return var.val if hasattr(var, "val") else values.get(var)


def _computed(eqn: Any, arguments: list[Any]) -> list[Any]:
    """The result of an equation on known scalars."""
    rule = SCALARS.get(eqn.primitive.name)
    scalar = getattr(eqn.outvars[0].aval, "shape", None) == () if eqn.outvars else False
    known = arguments and all(value is not None for value in arguments)
    return [rule(*arguments)] if rule and scalar and known else []


SCALARS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "rem": np.fmod, "sign": np.sign,
    "div": np.floor_divide, "max": np.maximum, "min": np.minimum, "eq": np.equal,
    "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "convert_element_type": lambda x: x, "select_n": lambda which, a, b: np.where(which, b, a),
}  # fmt: skip
