"""A run as a model of the evaluation harness (lm-eval): its three requests, answered in batches.

The interface is that of lm_eval.api.model.LM 0.4: each request has `args`. This module does without
the package; jaxlin.evals.harness hands it over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxlin.config.errors import ConfigError
from jaxlin.data.tokenizer import Tokenizer
from jaxlin.evals.generation import generate
from jaxlin.evals.likelihood import Likelihood, Pair, likelihoods, rolling
from jaxlin.evals.settings import Sampling, Stop

MAX_NEW = 256  # where a task does not say


class Bridge:
    """`most`: tokens that the model reads at most; `rows`: requests at a time."""

    def __init__(
        self,
        model: Any,
        variables: Any,
        tokenizer: Tokenizer,
        *,
        rows: int,
        most: int,
        mesh: jax.sharding.Mesh | None = None,
    ):
        if not tokenizer.token_bytes.any():
            raise ConfigError(
                f"--lm-eval: its tasks are written in words, and the run knows those of "
                f"{tokenizer.name} only; give a run on text"
            )
        self._model, self._variables, self._tokenizer = model, variables, tokenizer
        self._rows, self._most, self._mesh = rows, most, mesh

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """For each (context, continuation): log p of the continuation, and whether it is what
        greedy decoding would write."""
        pairs = [self.pair(*request.args) for request in requests]
        return [(float(found.log_p), found.greedy) for found in self._score(pairs)]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """For each (text,): log p of the whole text."""
        texts = [self._ids(request.args[0]) for request in requests]
        parts = [rolling(ids, self._tokenizer.bos, self._most) for ids in texts]
        found = iter(self._score([pair for part in parts for pair in part]))
        return [sum(next(found).log_p for _ in part) for part in parts]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """For each (context, settings): the continuation up to one of the texts in `until`."""
        found = [""] * len(requests)
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, request in enumerate(requests):
            groups.setdefault(settings(request.args[1]), []).append(i)
        for (stop, count, temperature), members in groups.items():
            for first in range(0, len(members), self._rows):
                picked = members[first : first + self._rows]
                contexts = [requests[i].args[0] for i in picked]
                texts = self._write(contexts, stop, count, temperature)
                for i, text in zip(picked, texts, strict=True):
                    found[i] = text
        return found

    def pair(self, context: str, continuation: str) -> Pair:
        """Ids of both, encoded together: blanks at the end of the context belong to what follows,
        as tokenizers have it. The separator is in front, as in training."""
        kept = context.rstrip()
        continuation = context[len(kept) :] + continuation
        given = self._ids(kept)
        whole = self._ids(kept + continuation)
        return Pair([self._tokenizer.bos, *given], whole[len(given) :])

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).tolist()

    def _score(self, pairs: Sequence[Pair]) -> list[Likelihood]:
        return likelihoods(
            self._model,
            self._variables,
            pairs,
            rows=self._rows,
            most=self._most,
            mesh=self._mesh,
        )

    def _write(
        self, contexts: Sequence[str], stop: tuple[str, ...], count: int, temperature: float
    ) -> list[str]:
        room = max(1, self._most - count)
        prompts = [[self._tokenizer.bos, *self._ids(text)][-room:] for text in contexts]
        prompts += [prompts[0]] * (self._rows - len(prompts))  # one shape for all
        texts = [""] * len(prompts)
        for piece in generate(
            self._model,
            self._variables,
            prompts,
            tokenizer=self._tokenizer,
            max_new=count,
            sampling=Sampling(temperature=temperature),
            stop=Stop(ids=(self._tokenizer.bos,), strings=stop),
        ):
            texts[piece.row] += piece.text
        return texts[: len(contexts)]


def settings(asked: Mapping[str, Any]) -> tuple[tuple[str, ...], int, float]:
    """Stop texts, number of tokens and temperature of a request; greedy unless it samples."""
    until = asked.get("until") or ()
    stop = tuple(text for text in ([until] if isinstance(until, str) else until) if text)
    count = asked.get("max_gen_toks", asked.get("max_tokens", MAX_NEW))
    temperature = float(asked.get("temperature", 1.0)) if asked.get("do_sample") else 0.0
    return stop, int(count), temperature
