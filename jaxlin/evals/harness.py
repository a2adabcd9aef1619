"""Tasks of the evaluation harness (lm-eval, an extra), run as they are published."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlin.config.errors import ConfigError, DataError, nearest
from jaxlin.evals.bridge import Bridge

# The six of the hybrid study (arXiv 2507.06457), whose mean accuracy is its LM score.
ZERO_SHOT = ("arc_challenge", "arc_easy", "hellaswag", "lambada_openai", "openbookqa", "piqa")


def check() -> None:
    """Raises ConfigError when the harness is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(
            "--lm-eval: needs the lm_eval package: pip install 'jaxlin[eval]'; the tasks that are "
            "built in (--task) do without"
        )


def named(words: str) -> list[str]:
    """Task names between commas; `zero_shot` stands for six."""
    names = [name.strip() for name in words.split(",") if name.strip()]
    if not names:
        raise ConfigError("--lm-eval: names no task; give some, such as arc_easy,piqa or zero_shot")
    return [full for name in names for full in (ZERO_SHOT if name == "zero_shot" else (name,))]


def run(
    bridge: Bridge, names: Sequence[str], *, folder: Path | None = None, limit: int | None = None
) -> dict[str, dict[str, float]]:
    """Task -> metric -> value, with the harness's own prompts and scoring, its own number of shots.

    folder: definitions of further tasks. limit: questions of each task. Raises ConfigError for a
    task that is not known, DataError where its data cannot be had.
    """
    check()
    library: Any = importlib.import_module("lm_eval")
    tasks = importlib.import_module("lm_eval.tasks").TaskManager(
        include_path=None if folder is None else str(folder)
    )
    unknown = [name for name in names if name not in tasks.all_tasks]
    if unknown:
        near = nearest(unknown[0], tasks.all_tasks)
        raise ConfigError(f"--lm-eval: {unknown[0]!r} is no task of the harness{near}")
    try:
        found = library.simple_evaluate(
            model=_as_model(bridge),
            tasks=list(names),
            task_manager=tasks,
            limit=limit,
            bootstrap_iters=0,
            log_samples=False,
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f"--lm-eval: the data of {', '.join(names)} cannot be read ({error}); the harness "
            "loads them from its cache or the network: run it once where there is one"
        ) from error
    return {name: numbers(values) for name, values in found["results"].items()}


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Metrics under their plain names: `acc` for the harness's `acc,none`."""
    return {
        name.removesuffix(",none"): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and "stderr" not in name and "," in name
    }


def lm_score(results: Mapping[str, Mapping[str, float]]) -> float | None:
    """The mean accuracy over the six, if all of them are there."""
    if not set(ZERO_SHOT) <= results.keys():
        return None
    return sum(results[name]["acc"] for name in ZERO_SHOT) / len(ZERO_SHOT)


def _as_model(bridge: Bridge) -> Any:
    """The bridge as an object of the class that the harness asks for."""
    base: Any = importlib.import_module("lm_eval.api.model").LM

    class Model(base):
        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return bridge.loglikelihood(requests)

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            return bridge.loglikelihood_rolling(requests)

        def generate_until(self, requests: list[Any]) -> list[str]:
            return bridge.generate_until(requests)

    return Model()
