"""Dynamic memory fusion and the decaying auxiliary weight, one number at a time, in float64.

Written from the published formulas and from the two departures that the `DynamicMemoryFusion`
docstring declares: a spread below 1e-3 counts as 1e-3, and the Bayes update is tempered.
"""

import math

import numpy as np

SMALLEST_SPREAD = 1e-3


def scaled(series):
    """Symmetric logarithm, then to 0..1."""
    logs = [math.log1p(x) if x >= 0 else -math.log1p(-x) for x in series]
    low, high = min(logs), max(logs)
    return [(x - low) / (high - low + 1e-7) for x in logs]


def variance(series):
    mean = sum(series) / len(series)
    return sum((x - mean) ** 2 for x in series) / len(series)


def deviation(series):
    """Median absolute deviation from the median."""
    middle = np.median(series)
    return float(np.median([abs(x - middle) for x in series]))


def shares(scores):
    return [score / sum(scores) for score in scores]


class Fusion:
    """Feed it the term values of one training step after the other; it answers with weights."""

    def __init__(self, start, method="var", warmup=50, memory=150):
        self.method, self.warmup, self.memory = method, warmup, memory
        self.active = [index for index, weight in enumerate(start) if weight > 0]
        self.weights = [float(weight) for weight in start]
        self.past = []  # one list of term values a remembered step
        self.steps = 0

    def step(self, values):
        if not all(math.isfinite(value) for value in values):
            return list(self.weights)
        self.steps += 1
        self.past = [*self.past, [float(value) for value in values]][-self.memory :]
        if self.steps >= self.warmup:
            self._move()
        return list(self.weights)

    def _move(self):
        series = [scaled([row[term] for row in self.past]) for term in self.active]
        before = [self.weights[term] for term in self.active]
        count, terms = len(self.past), len(self.active)
        if self.method == "var":
            spread = [variance(g) for g in series]
            now = shares(spread) if sum(spread) > 0 else [1 / terms] * terms
        else:
            evidence = [1 / max(deviation(g), SMALLEST_SPREAD) for g in series]
            now = shares(evidence)
        if self.method == "bayes":
            products = [u ** (1 / count) * w for u, w in zip(evidence, before, strict=True)]
            posterior = shares(products)
            now = [(1 - 1 / count) * p + (1 / count) / terms for p in posterior]
        for term, weight in zip(self.active, now, strict=True):
            self.weights[term] = weight


def auxiliary_weight(step, scale=1.0, decay=0.05):
    """gamma(t) = gamma_0 * exp(-tau * t), with t = 0 in the first training step."""
    return scale * math.exp(-decay * step)
