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
    taken = np.ones(steps.shape[1])
    return round(_kernel(eqn.params["jaxpr"], {}, taken, steps, grid))


def _kernel(jaxpr: Any, known: Mapping[Any, Any], taken: Any, steps: Any, grid: Any) -> float:
    """FLOPs over the grid steps; `taken`: how often each of them runs this jaxpr.

    Scalars that follow from the place in the grid are computed for all steps at once; what branches
    on anything else counts its larger branch.
    """
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    values, total = dict(known), 0.0
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            total += dot_flops(eqn) * taken.sum()
        elif name == "program_id":
            values[eqn.outvars[0]] = steps[eqn.params["axis"]]
        elif name == "num_programs":
            values[eqn.outvars[0]] = np.full(steps.shape[1], grid[eqn.params["axis"]])
        elif name == "cond":
            total += _branches(eqn, values, taken, steps, grid)
        else:
            inner = list(inner_jaxprs(eqn))
            more = eqn.params["length"] if name == "scan" else 1
            for each in inner:
                passed = _passed(eqn, each, values) if name not in ("scan", "while") else {}
                total += _kernel(each, passed, taken * more, steps, grid)
            if not inner:
                _compute(eqn, values)
    return total


def _branches(eqn: Any, values: Mapping[Any, Any], taken: Any, steps: Any, grid: Any) -> float:
    index = _value(eqn.invars[0], values)
    counts = []
    for i, branch in enumerate(eqn.params["branches"]):
        inner = dict(zip(branch.jaxpr.invars, map(lambda v: _value(v, values), eqn.invars[1:]),
                         strict=False))  # fmt: skip
        inner = {var: value for var, value in inner.items() if value is not None}
        here = taken if index is None else taken * (np.clip(index, 0, None).astype(int) == i)
        counts.append(_kernel(branch, inner, here, steps, grid))
    return max(counts) if index is None else sum(counts)


def _passed(eqn: Any, inner: Any, values: Mapping[Any, Any]) -> dict[Any, Any]:
    found = zip(inner.invars, (_value(v, values) for v in eqn.invars), strict=False)
    return {var: value for var, value in found if value is not None}


def _value(var: Any, values: Mapping[Any, Any]) -> Any:
    """Of a literal or a known scalar; None where it is not known."""
    return getattr(var, "val", None) if hasattr(var, "val") else values.get(var)


def _compute(eqn: Any, values: dict[Any, Any]) -> None:
    """Adds the results of an equation on known scalars to `values`."""
    if len(eqn.outvars) != 1 or getattr(eqn.outvars[0].aval, "shape", None) != ():
        return
    inputs = [_value(v, values) for v in eqn.invars]
    if not inputs or any(value is None for value in inputs):
        return
    rule = SCALARS.get(eqn.primitive.name)
    if rule is not None:
        values[eqn.outvars[0]] = rule(*inputs)


SCALARS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "rem": np.remainder,
    "div": np.floor_divide, "max": np.maximum, "min": np.minimum, "eq": np.equal,
    "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "convert_element_type": lambda x: x,
}  # fmt: skip
