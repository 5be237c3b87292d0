"""Scores, combinations, temperatures and selections: `python predictions.py > predictions.json`.

Needs numpy, scipy and scikit-learn. Nothing here shares a formula's arrangement with the crate: scikit-learn scores,
scipy minimizes, and the rest is written the slow way.
"""

import itertools
import json
import sys

import numpy as np
import scipy
import sklearn
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, log_loss

MEMBERS, SAMPLES, CLASSES = 4, 60, 5
random = np.random.default_rng(20)

labels = random.integers(0, CLASSES, SAMPLES)
truth = np.eye(CLASSES)[labels]
# Members that know something, each with a mind and a confidence of its own; exact in f32.
logits = random.normal(0, 1.5, (MEMBERS, SAMPLES, CLASSES)) + 2.0 * truth
logits = (logits * np.array([0.5, 1.0, 2.0, 4.0])[:, None, None]).astype(np.float32).astype(np.float64)
weights = np.array([3.0, 1.0, 0.5, 2.0])


def calibration_error(p, bins=15):
    confidence, right = p.max(1), p.argmax(1) == labels
    edges = np.linspace(0, 1, bins + 1)
    error = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def scores(p):
    return {
        "accuracy": accuracy_score(labels, p.argmax(1)),
        "nll": log_loss(labels, p, labels=range(CLASSES)),
        "brier": float(np.mean(np.sum((p - truth) ** 2, axis=1))),
        "ece": calibration_error(p),
        "samples": SAMPLES,
    }


def votes(w):
    table = np.zeros((SAMPLES, CLASSES))
    for member, weight in zip(logits, w):
        for sample, row in enumerate(member):
            table[sample, row.argmax()] += weight
    return table / sum(w)


def best_temperature(z):
    loss = lambda t: -np.mean(log_softmax(z / t, axis=1)[range(SAMPLES), labels])
    return minimize_scalar(loss, bounds=(0.01, 100), method="bounded", options={"xatol": 1e-12}).x


def greedy(candidates, rounds):
    chosen, losses = [], []
    for _ in range(rounds):
        with_each = []
        for candidate in range(len(candidates)):
            mean = np.mean([candidates[i] for i in chosen + [candidate]], axis=0)
            with_each.append(-np.mean(np.log(mean)))
        chosen.append(int(np.argmin(with_each)))
        losses.append(float(min(with_each)))
    return {"chosen": chosen[: int(np.argmin(losses)) + 1], "losses": losses}


probabilities = softmax(logits, axis=2)
combined = {
    "mean_probability": np.average(probabilities, axis=0, weights=weights),
    "mean_logit": softmax(np.average(logits, axis=0, weights=weights), axis=1),
    "majority_vote": votes(weights),
}
uniform = probabilities.mean(0)
pairs = list(itertools.combinations(probabilities.argmax(2), 2))

json.dump(
    {
        "made_with": {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__},
        "classes": CLASSES,
        "labels": labels.tolist(),
        "weights": weights.tolist(),
        "logits": logits.reshape(MEMBERS, -1).tolist(),
        "members": [scores(p) for p in probabilities],
        "combined": {rule: p.ravel().tolist() for rule, p in combined.items()},
        "combined_scores": {rule: scores(p) for rule, p in combined.items() if rule != "majority_vote"},
        "disagreement": float(np.mean([np.mean(a != b) for a, b in pairs])),
        "entropy": entropy(uniform, axis=1).tolist(),
        "mutual_information": (entropy(uniform, axis=1) - entropy(probabilities, axis=2).mean(0)).tolist(),
        "temperatures": [best_temperature(z) for z in logits],
        "ensemble_temperature": best_temperature(np.log(uniform)),
        "greedy": greedy([p[range(SAMPLES), labels] for p in probabilities], 12),
    },
    sys.stdout,
)
