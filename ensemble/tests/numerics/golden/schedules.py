"""Learning rates of PyTorch's own schedulers, step by step: `python schedules.py > schedules.json` (needs torch).

Every case is a `train` section, the steps of an epoch and the rate that each step of the run used.
"""

import json
import sys

import torch
from torch.optim import lr_scheduler as lr


def used(make, peak, steps, warmup):
    """The rates of `steps` updates; `warmup` of them linear, then the scheduler that `make` gives for the rest."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    if warmup == 0:
        scheduler = make(optimizer, steps)
    else:
        # SequentialLR starts the second scheduler from the optimizer's initial rate.
        growth = lr.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        scheduler = lr.SequentialLR(optimizer, [growth, make(optimizer, steps - warmup)], milestones=[warmup])
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


CASES = []


def case(name, rate, make, epochs, per_epoch, warmup_epochs=0.0):
    steps, warmup = epochs * per_epoch, round(warmup_epochs * per_epoch)
    peak = next(iter(rate.values()))["max"]
    train = {"epochs": epochs, "learning_rate": rate, "warmup_epochs": warmup_epochs}
    rates = used(make, peak, steps, warmup)
    CASES.append({"name": name, "train": train, "steps_per_epoch": per_epoch, "rates": rates})


def constant(optimizer, steps):
    return lr.ConstantLR(optimizer, factor=1.0, total_iters=0)


def milestones(*steps):
    return lambda optimizer, _: lr.MultiStepLR(optimizer, milestones=list(steps), gamma=0.2)


def cosine(floor):
    return lambda optimizer, steps: lr.CosineAnnealingLR(optimizer, T_max=steps, eta_min=floor)


def cycles(count, floor):
    return lambda optimizer, steps: lr.CosineAnnealingWarmRestarts(optimizer, T_0=steps // count, eta_min=floor)


def one_cycle(peak, rise, start, final):
    return lambda optimizer, steps: lr.OneCycleLR(
        optimizer, max_lr=peak, total_steps=steps, pct_start=rise, div_factor=start, final_div_factor=final,
        cycle_momentum=False,
    )


case("constant", {"constant": {"max": 0.05}}, constant, 3, 4)
case("constant after warm-up", {"constant": {"max": 0.05}}, constant, 3, 4, 1.5)
case("step", {"step": {"max": 0.1, "milestones": [3, 5], "gamma": 0.2}}, milestones(15, 25), 7, 5)
case("cosine", {"cosine": {"max": 0.1, "min": 0.001}}, cosine(0.001), 5, 7)
case("cosine after warm-up", {"cosine": {"max": 0.1, "min": 0.0}}, cosine(0.0), 6, 7, 1.0)
case("cycles", {"cosine_cycles": {"max": 0.2, "min": 0.01, "cycles": 5}}, cycles(5, 0.01), 10, 6)
case("cycles after warm-up", {"cosine_cycles": {"max": 0.2, "min": 0.0, "cycles": 4}}, cycles(4, 0.0), 9, 6, 1.0)
for name, rise, start, final, epochs in [("one cycle", 0.3, 25.0, 1e4, 10), ("one cycle, steep", 0.1, 4.0, 10.0, 8)]:
    rate = {"one_cycle": {"max": 0.4, "rise": rise, "start_factor": start, "final_factor": final}}
    case(name, rate, one_cycle(0.4, rise, start, final), epochs, 5)

json.dump({"torch": torch.__version__.split("+")[0], "cases": CASES}, sys.stdout, indent=None)
