"""Which findings of the hybrid-ratio study appear in a sweep, by rules that stand on its page.

Source: "A Systematic Analysis of Hybrid Linear Attention", arXiv 2507.06457v1. Each function takes
the numbers of single runs (mixer -> ratio -> one number a seed) and gives a verdict together with
the figures it rests on. None of them looks at anything else.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from jaxlin.study.scores import Values, error, pooled, spearman

APPEARS, NOT, UNKNOWN = "appears", "does not appear", "cannot be told"
PURE, FULL = "pure", "full"

TREND = 0.5  # least rank correlation of a rise
LEAST = 0.05  # a rise that would matter, of an accuracy
CEILING, FLOOR = 0.95, 0.05  # accuracies that say only that a task is too easy, or too hard
LITTLE = 0.02  # of the loss: one point of the published LM score of 47.6 is 2%
SHARE = 2 / 3  # of the mixers have to agree
# Spearman's rank correlation that n independent pairs reach in at most 5% of cases (one-sided).
CRITICAL = {4: 1.0, 5: 0.9, 6: 0.828, 7: 0.714, 8: 0.642, 9: 0.6, 10: 0.563}
DRAWS = 1000

RECALL_RULE = (
    "For each mixer with at least three shares of softmax and two seeds: ρ is Spearman's rank "
    "correlation of share and accuracy over all runs; the rise is the mean at the highest share "
    "less that at the lowest, with twice its standard error (spread of a run pooled over the "
    f"mixer's cells). It rises if ρ ≥ {TREND} and the rise exceeds twice its error; it does not if "
    f"even the rise plus twice its error is below {LEAST}. Nothing can be told of a mixer whose "
    f"cells are all above {CEILING} or all below {FLOOR}. The finding appears, or does not, if at "
    "least two thirds of the mixers say so."
)
LOSS_RULE = (
    "For each mixer with at least three ratios (pure and hybrids, not softmax alone) and two "
    "seeds: the range is the highest less the lowest mean loss over the ratios, with twice its "
    "standard error (spread of a run pooled over the mixer's cells). The loss hardly moves if even "
    f"the range plus twice its error is at most {LITTLE:.0%} of the mixer's mean loss; it moves if "
    "the range less twice its error is above that. The finding appears, or does not, if at least "
    "two thirds of the mixers say so. (One point of the published mean LM score is 2% of it.)"
)
RANK_RULE = (
    "Over the mixers that have a pure model and hybrids, at least four: ρ is Spearman's rank "
    "correlation of the pure means and of the means over the hybrid ratios that all of them have. "
    f"Seeds are drawn again {DRAWS} times within each cell, which gives the range of ρ from 5% to "
    "95%. Ranks predict if the whole range is at or above what independent ranks reach in 5% of "
    "cases (1.00 for 4 mixers, .90 for 5, .83 for 6, .71 for 7), and then the finding does not "
    "appear; it appears if the whole range lies below. Two seeds in every cell are needed."
)


@dataclass(frozen=True)
class Finding:
    """A verdict, the reason in a sentence, and the figures."""

    verdict: str
    why: str
    header: list[str]
    rows: list[list[Any]]


def recall_rises(values: Values, share: Mapping[str, Mapping[str, float]]) -> Finding:
    """Whether accuracy rises with the share of softmax layers; `share`: mixer -> ratio -> 0 to 1.

    rise = mean at the highest share - mean at the lowest; see RECALL_RULE.
    """
    header = ["mixer", "shares", "runs", "ρ", "rise", "± 2 errors", "verdict"]
    rows = [[mixer, *_rise(cells, share[mixer])] for mixer, cells in values.items()]
    verdict, why = _majority("recall rises", rows)
    return Finding(verdict, why, header, rows)


def loss_hardly_moves(values: Values) -> Finding:
    """Whether the language loss is nearly the same at all ratios but softmax alone; LOSS_RULE."""
    header = ["mixer", "ratios", "runs", "mean", "range", "± 2 errors", "range / spread",
              "range / mean", "verdict"]  # fmt: skip
    rows = []
    for mixer, cells in values.items():
        kept = {ratio: runs for ratio, runs in cells.items() if ratio != FULL and runs}
        if kept:
            rows.append([mixer, *_range(list(kept.values()))])
    verdict, why = _majority("the loss hardly moves", rows)
    return Finding(verdict, why, header, rows)


def ranks_do_not_carry(values: Values, draws: int = DRAWS) -> Finding:
    """Whether the order of pure mixers says nothing of the order of their hybrids; RANK_RULE."""
    header = ["hybrid ratio", "mixers", "ρ", "5%", "95%", "needed to predict"]
    kept, ratios = _comparable(values)
    if len(kept) < 4 or not ratios:
        why = f"{len(kept)} mixers have a pure model and hybrids in common ratios; 4 are needed"
        return Finding(UNKNOWN, why, header, [])
    needed = critical(len(kept))
    rows = []
    for chosen in [*([ratio] for ratio in ratios), list(ratios)]:
        rho, low, high = _carried(kept, chosen, draws)
        label = chosen[0] if len(chosen) == 1 else "mean of all"
        rows.append([label, len(kept), rho, low, high, needed])
    rows = rows[:1] if len(ratios) == 1 else rows
    _, n, rho, low, high, _ = rows[-1]
    return Finding(*_carry_verdict(n, rho, low, high, needed), header, rows)


def critical(n: int) -> float:
    """The rank correlation of n pairs that chance reaches in at most 5% of cases, one-sided."""
    return CRITICAL[n] if n in CRITICAL else 1.645 / (n - 1) ** 0.5


def _rise(cells: Mapping[str, Sequence[float]], share: Mapping[str, float]) -> list[Any]:
    """Number of shares, of runs, rho, rise, twice its error, verdict."""
    kept = sorted(((share[r], runs) for r, runs in cells.items() if runs), key=lambda c: c[0])
    count, shares = sum(len(runs) for _, runs in kept), len({s for s, _ in kept})
    if shares < 2:
        return [shares, count, None, None, None, UNKNOWN]
    (_, first), (_, last) = kept[0], kept[-1]
    rho = spearman(*zip(*((s, v) for s, runs in kept for v in runs), strict=True))
    rise, sd = fmean(last) - fmean(first), pooled(runs for _, runs in kept)
    reach = None if sd is None else 2 * error(sd, first, last)
    means = [fmean(runs) for _, runs in kept]
    told = shares >= 3 and reach is not None and min(means) < CEILING and max(means) > FLOOR
    verdict = _rise_verdict(rho, rise, reach) if told and reach is not None else UNKNOWN
    return [shares, count, rho, rise, reach, verdict]


def _rise_verdict(rho: float | None, rise: float, reach: float) -> str:
    if rho is not None and rho >= TREND and rise > reach:
        return APPEARS
    return NOT if rise + reach < LEAST else UNKNOWN


def _range(cells: list[Sequence[float]]) -> list[Any]:
    """Number of ratios, of runs, mean loss, range, twice its error, two relations, verdict."""
    ordered = sorted(cells, key=fmean)
    low, high = ordered[0], ordered[-1]
    mean, spread = fmean(map(fmean, cells)), fmean(high) - fmean(low)
    counts = [len(cells), sum(map(len, cells))]
    sd = pooled(cells)
    if sd is None:
        return [*counts, mean, spread, None, None, spread / mean, UNKNOWN]
    reach, relation = 2 * error(sd, low, high), spread / sd if sd else None
    verdict = UNKNOWN
    if len(cells) >= 3 and spread + reach <= LITTLE * mean:
        verdict = APPEARS
    elif len(cells) >= 3 and spread - reach > LITTLE * mean:
        verdict = NOT
    return [*counts, mean, spread, reach, relation, spread / mean, verdict]


def _comparable(values: Values) -> tuple[Values, list[str]]:
    """The mixers with a pure model and a hybrid, and the hybrid ratios that all of them have."""
    kept = {
        mixer: cells
        for mixer, cells in values.items()
        if cells.get(PURE) and any(runs and _hybrid(ratio) for ratio, runs in cells.items())
    }
    every = list(dict.fromkeys(ratio for cells in kept.values() for ratio in cells))
    common = [r for r in every if _hybrid(r) and all(cells.get(r) for cells in kept.values())]
    return kept, common


def _hybrid(ratio: str) -> bool:
    return ratio not in (PURE, FULL)


def _carried(values: Values, ratios: list[str], draws: int) -> tuple[Any, Any, Any]:
    """Rank correlation of pure and hybrid means, and its range when seeds are drawn again."""
    cells = [(m[PURE], [m[ratio] for ratio in ratios]) for m in values.values()]
    rho = _correlated(cells)
    if any(len(runs) < 2 for pure, hybrids in cells for runs in (pure, *hybrids)):
        return rho, None, None
    chance = random.Random(0)  # the page is the same each time
    again = lambda runs: chance.choices(runs, k=len(runs))  # noqa: E731
    drawn = [
        found
        for _ in range(draws)
        if (found := _correlated([(again(p), [again(h) for h in hs]) for p, hs in cells]))
        is not None
    ]
    drawn.sort()
    if not drawn:
        return rho, None, None
    place = lambda q: drawn[min(len(drawn) - 1, int(q * len(drawn)))]  # noqa: E731
    return rho, place(0.05), place(0.95)


def _correlated(cells: Iterable[tuple[Sequence[float], list[Sequence[float]]]]) -> float | None:
    pairs = [(fmean(pure), fmean(map(fmean, hybrids))) for pure, hybrids in cells]
    return spearman(*zip(*pairs, strict=True))


def _carry_verdict(n: int, rho: Any, low: Any, high: Any, needed: float) -> tuple[str, str]:
    if rho is None or low is None:
        return UNKNOWN, f"{n} mixers, but not two seeds in every cell, or no order among them"
    figures = f"ρ = {rho:.2f} over {n} mixers (5% to 95% over seeds: {low:.2f} to {high:.2f})"
    if low >= needed:
        return NOT, f"{figures}: pure ranks predict hybrid ranks"
    if high < needed:
        return APPEARS, f"{figures}, below the {needed:.2f} that would be needed to predict"
    return UNKNOWN, f"{figures}, on both sides of the {needed:.2f} needed to predict"


def _majority(what: str, rows: list[list[Any]]) -> tuple[str, str]:
    """The verdict that at least two thirds of the mixers share; verdicts are the last column."""
    verdicts = [row[-1] for row in rows]
    yes, no = verdicts.count(APPEARS), verdicts.count(NOT)
    why = f"{what} for {yes} of {len(rows)} mixers, not for {no}, open for {len(rows) - yes - no}"
    for verdict, count in ((APPEARS, yes), (NOT, no)):
        if count and count >= SHARE * len(rows):
            return verdict, why
    return UNKNOWN, why
