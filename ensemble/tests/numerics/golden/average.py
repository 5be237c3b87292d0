"""Weighted means rounded once to nearest even, from exact fractions: `python average.py > average.json`.

Needs only Python. A value is the integer of its bits; a case is a type, N inputs, their weights and the mean.
"""

import json
import random
import struct
import sys
from fractions import Fraction

# Type: bytes, stored digits of the significand, bias of the exponent.
TYPES = {"F16": (2, 10, 15), "BF16": (2, 7, 127), "F32": (4, 23, 127), "F64": (8, 52, 1023)}


def decode(kind, bits):
    size, digits, bias = TYPES[kind]
    sign = -1 if bits >> (size * 8 - 1) else 1
    exponent = (bits >> digits) & (2 * bias + 1)
    fraction = bits & ((1 << digits) - 1)
    significand = fraction + (1 << digits) if exponent else fraction
    return sign * Fraction(significand) * Fraction(2) ** (max(exponent, 1) - bias - digits)


def encode(kind, value):
    size, digits, bias = TYPES[kind]
    sign, value = (1, -value) if value < 0 else (0, value)
    exponent = max(1 - bias, (value.numerator.bit_length() - value.denominator.bit_length()) - 1) if value else 1 - bias
    while value >= Fraction(2) ** (exponent + 1):
        exponent += 1
    steps = round(value / Fraction(2) ** (exponent - digits))  # Python rounds fractions to nearest even.
    # Carrying into the exponent field is what the addition does by itself.
    magnitude = steps + ((exponent + bias - 1) << digits)
    return sign << (size * 8 - 1) | magnitude


assert encode("F32", Fraction(0.1)) == struct.unpack("<I", struct.pack("<f", 0.1))[0]
assert all(encode("F16", decode("F16", bits)) == bits for bits in range(0x7C00))


def near(kind, rng):
    """Models of one trajectory: values around a common one, and some small, subnormal or equal ones."""
    center = rng.uniform(-2, 2) * 10.0 ** rng.choice([0, 0, 0, -2, -4, -7])
    spread = rng.choice([0.0, 1e-3, 0.1, 1.0])
    return [encode(kind, Fraction(center * (1 + spread * rng.uniform(-1, 1)))) for _ in range(5)]


def mean(kind, column, weights):
    """The exact mean, rounded. A sum of zeros is negative only where all of them are, as in IEEE 754."""
    exact = sum(Fraction(w) * decode(kind, bits) for w, bits in zip(weights, column)) / sum(map(Fraction, weights))
    negative_zero = 1 << (TYPES[kind][0] * 8 - 1)
    return negative_zero if all(bits == negative_zero for bits in column) else encode(kind, exact)


cases = []
for kind in TYPES:
    rng = random.Random(kind)
    for weights in ([1, 1, 1, 1, 1], [1, 2, 0.5, 0.25, 4]):
        columns = [near(kind, rng) for _ in range(120)]
        cases.append({
            "dtype": kind,
            "weights": weights,
            "inputs": [[column[model] for column in columns] for model in range(5)],
            "mean": [mean(kind, column, weights) for column in columns],
        })

# Two inputs that are neighbours: every mean is a tie.
for kind in TYPES:
    size = TYPES[kind][0]
    start = encode(kind, Fraction(3, 7))
    low = [bits for bits in range(start, start + 64)] + list(range(0, 16))
    means = [mean(kind, [bits, bits + 1], [1, 1]) for bits in low]
    cases.append({"dtype": kind, "weights": [1, 1], "inputs": [low, [bits + 1 for bits in low]], "mean": means})

json.dump(cases, sys.stdout)
