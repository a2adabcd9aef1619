"""The forms that torch runs: softmax attention, the gated delta rule of transformers, and fla.

Importing this module needs nothing; a peer imports what it needs when it is built.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import CONSTANT, COTANGENT, Calls, Peer

HEADS_FIRST = (0, 2, 1, 3)


def sdpa(device: str, backend: str | None = None) -> Peer:
    """`torch.nn.functional.scaled_dot_product_attention` on [b h t k], its own layout.

    `backend`: a name of torch.nn.attention.SDPBackend that alone may run; None: torch chooses.
    """

    def build(op: str, arrays: dict[str, np.ndarray], dtype: str) -> Calls:
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        attention = torch.nn.functional.scaled_dot_product_attention

        def run(q: Any, k: Any, v: Any) -> Any:
            if backend is None:
                return attention(q, k, v, is_causal=True)
            with sdpa_kernel(getattr(SDPBackend, backend)):
                return attention(q, k, v, is_causal=True)

        first = {n: np.ascontiguousarray(x.transpose(HEADS_FIRST)) for n, x in arrays.items()}
        return calls(run, first, dtype, device, HEADS_FIRST)

    return Peer("torch SDPA" if backend is None else f"torch SDPA {backend}", ("softmax",), build)


def transformers_fallback() -> Peer:
    """The chunked gated delta rule that transformers runs where it has no kernel."""

    def build(op: str, arrays: dict[str, np.ndarray], dtype: str) -> Calls:
        from transformers.models.qwen3_next import modeling_qwen3_next as module

        # The name itself leads to the kernels of fla where they are installed, also on a CPU.
        fallback = inspect.unwrap(module.torch_chunk_gated_delta_rule)

        def run(q: Any, k: Any, v: Any, beta: Any, log_decay: Any) -> Any:
            return fallback(q, k, v, g=log_decay, beta=beta)[0]

        return calls(run, arrays, dtype, "cpu")

    return Peer("transformers", ("gated_delta",), build)


FLA = {  # op: module, function, name of the decay; the retention of fla makes its own
    "linear": ("linear_attn", "chunk_linear_attn", ""),
    "retention": ("retention", "chunk_retention", ""),
    "simple_gla": ("simple_gla", "chunk_simple_gla", "g"),
    "gla": ("gla", "chunk_gla", "g"),
    "delta": ("delta_rule", "chunk_delta_rule", ""),
    "gated_delta": ("gated_delta_rule", "chunk_gated_delta_rule", "g"),
    "kda": ("kda", "chunk_kda", "g"),
}


def fla(device: str) -> Peer:
    """The Triton kernels of flash-linear-attention."""

    def build(op: str, arrays: dict[str, np.ndarray], dtype: str) -> Calls:
        folder, name, decay = FLA[op]
        function = getattr(importlib.import_module(f"fla.ops.{folder}"), name)
        more = {"normalize": False} if op == "linear" else {}

        def run(log_decay: Any = None, **inputs: Any) -> Any:
            if decay:
                inputs[decay] = log_decay
            return function(**inputs, **more)[0]

        return calls(run, arrays, dtype, device, constant=CONSTANT.get(op))

    return Peer("fla", tuple(FLA), build)


def calls(
    run: Callable[..., Any],
    arrays: dict[str, np.ndarray],
    dtype: str,
    device: str,
    axes: tuple[int, ...] = (0, 1, 2, 3),
    constant: str | None = None,
) -> Calls:
    """`run` on the arrays; `axes` lead from its layout to [b t h .]."""
    import torch

    def place(name: str, x: np.ndarray) -> Any:
        wanted = torch.float32 if name == "log_decay" else getattr(torch, dtype)
        return torch.tensor(x, dtype=wanted, device=device)

    inputs = {name: place(name, x) for name, x in arrays.items() if name != COTANGENT}
    cotangent = place(COTANGENT, arrays[COTANGENT])
    leaves = {n: x.clone().requires_grad_() for n, x in inputs.items() if n != constant}

    def forward() -> Any:
        with torch.no_grad():
            return run(**inputs)

    def both() -> tuple[Any, dict[str, Any]]:
        outputs = run(**(inputs | leaves))
        found = torch.autograd.grad(outputs, list(leaves.values()), cotangent)
        return outputs, dict(zip(leaves, found, strict=True))

    def to_numpy(x: Any) -> np.ndarray:
        x = x.detach().double().cpu().numpy()
        return x.transpose(axes) if x.ndim == 4 else x

    wait = (lambda result: None) if device == "cpu" else (lambda r: torch.cuda.synchronize())
    return Calls(forward, both, wait, to_numpy)
