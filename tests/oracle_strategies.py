"""The weighting strategies besides dynamic memory fusion, one number at a time, in float64.

Written from the published formulas. `step` takes the term values of a step or epoch and returns
the weights that hold from then on; all terms are active.
"""

import math

import numpy as np


def softmax(values):
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


class Oracle:
    def __init__(self, start, **options):
        self.weights = [float(weight) for weight in start]
        self.past = []
        for name, value in options.items():
            setattr(self, name, value)

    def step(self, values):
        self.past.append([float(value) for value in values])
        self.weights = [float(weight) for weight in self.moved()]
        return self.weights


class Static(Oracle):
    def moved(self):
        return self.weights


class SoftAdapt(Oracle):
    beta, points, by_value = 0.1, 2, False

    def moved(self):
        if len(self.past) < self.points:
            return self.weights
        coefficients = {
            2: [-1, 1],
            4: [-11 / 6, 3, -3 / 2, 1 / 3],
            6: [-137 / 60, 5, -5, 10 / 3, -5 / 4, 1 / 5],
        }[self.points]
        columns = list(zip(*self.past[-self.points :], strict=True))
        slopes = [sum(c * x for c, x in zip(coefficients, col, strict=True)) for col in columns]
        weights = softmax([self.beta * slope for slope in slopes])
        if self.by_value:
            weights = [w * sum(col) / len(col) for w, col in zip(weights, columns, strict=True)]
            weights = [w / sum(weights) for w in weights]
        return weights


class DynamicWeightAverage(Oracle):
    temperature = 2.0

    def moved(self):
        if len(self.past) < 2:
            return self.weights
        ratios = [now / then for now, then in zip(self.past[-1], self.past[-2], strict=True)]
        return [len(ratios) * w for w in softmax([r / self.temperature for r in ratios])]


class CoefficientOfVariation(Oracle):
    def moved(self):
        if len(self.past) <= 2:
            return self.weights
        scores = []
        for column in zip(*self.past[:-1], strict=True):
            ratios = [x / np.mean(column[:t]) if t else 1.0 for t, x in enumerate(column)]
            scores.append(math.sqrt(np.var(ratios) + 1e-8) / np.mean(ratios))
        return [score / sum(scores) for score in scores]


class ReLoBRaLo(Oracle):
    alpha, temperature, rho = 0.999, 1.0, 1.0

    def balanced(self, former):
        ratios = [x / (self.temperature * y) for x, y in zip(self.past[-1], former, strict=True)]
        return [len(ratios) * w for w in softmax(ratios)]

    def moved(self):
        """Only without chance: `rho` 0 or 1."""
        if len(self.past) == 1:
            return self.weights
        last = self.balanced(self.past[-2])
        if len(self.past) == 2:
            return last
        past = self.weights if self.rho == 1 else self.balanced(self.past[0])
        return [self.alpha * p + (1 - self.alpha) * x for p, x in zip(past, last, strict=True)]


def uniform(seed, step, count):
    """The counter-based hash that random weights are drawn by, in unsigned 32-bit integers."""

    def mixed(state):
        for shift, factor in ((16, 0x7FEB352D), (15, 0x046CA68B)):
            state = (state ^ state >> shift) * factor % 2**32
        return state ^ state >> 16

    start = mixed((step * 0x3C6EF35F + (seed * 0x19660D + 0x27220A95) % 2**31) % 2**32)
    states = [(start + index * 0x1E3779B1) % 2**32 for index in range(count)]
    return [(mixed(mixed(state)) % 2**24 + 1) / 2**24 for state in states]


def random_weights(seed, steps, count):
    rows = []
    for step in range(1, steps + 1):
        uniforms = uniform(seed, step, 2 * count)
        pairs = zip(uniforms[:count], uniforms[count:], strict=True)
        rows.append(
            softmax([math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v) for u, v in pairs])
        )
    return rows


class GradientBalance(Oracle):
    alpha, smoothing = 0.0, 0.9

    def step(self, values, norms):
        self.norms = norms
        former = self.weights
        moved = super().step(values)
        self.weights = [
            self.smoothing * old + (1 - self.smoothing) * new
            for old, new in zip(former, moved, strict=True)
        ]
        return self.weights

    def moved(self):
        quotients = [now / then for now, then in zip(self.past[-1], self.past[0], strict=True)]
        rates = [quotient / np.mean(quotients) for quotient in quotients]
        norms = [max(norm, max(self.norms) / 1000) for norm in self.norms]
        pulls = [rate**self.alpha / norm for rate, norm in zip(rates, norms, strict=True)]
        return [len(pulls) * pull / sum(pulls) for pull in pulls]
