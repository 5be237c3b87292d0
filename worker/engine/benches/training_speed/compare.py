"""Training speed of the engine beside PyTorch 2.11 eager: same network, batch, data and threads, loading and augmentation
included, interleaved in one run.

    pip install torch==2.11.0 torchvision
    python worker/engine/benches/training_speed/compare.py [--rounds 7] [--threads 2] [--only cnn] [--cpu-time]

Each round runs every contestant once, in an order that turns from round to round. A ratio is the engine's time over
PyTorch's of the same round; printed are the median of the rounds' ratios, the smallest and the largest, and n.

Measured on a Xeon with AMX, two cores:
    cnn, --threads 2, n = 5: f32 0.450 of contiguous, 0.581 of channels-last; bf16 0.172 of contiguous, 0.364 of autocast
    resnet18, --threads 1 --cpu-time, n = 7: f32 0.910 and 0.926; bf16 0.357 and 0.839
ResNet-18 in f32 spends three quarters of its time in convolutions that run as fast as a large matrix product does here.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# Name, batch, and the steps of one round for PyTorch's plain variant to take a second or two.
SETTINGS = [("cnn", 128, 40), ("resnet18", 64, 3)]
PYTORCH = ["contiguous", "channels_last", "autocast"]
ENGINE = ["f32", "bf16"]
GOALS = [("f32", "contiguous", 0.6), ("f32", "channels_last", 0.95), ("bf16", "contiguous", 0.4), ("bf16", "autocast", 0.95)]


class Contestant:
    def __init__(self, command, threads, cpu_time):
        self.clock = 1 if cpu_time else 0
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(command, env=environment, **pipes)

    def seconds(self, *request):
        print(*request, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline().split()[self.clock])


def built():
    """Builds the benchmark and returns its path."""
    command = ["cargo", "bench", "--profile", "release", "-p", "engine", "--bench", "training_speed", "--no-run", "--message-format", "json"]
    output = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout
    return next(path for path in map(executable, output.splitlines()) if path)


def executable(line):
    message = json.loads(line)
    is_ours = message.get("target", {}).get("name") == "training_speed"
    return message.get("executable") if is_ours else None


def rounds(engine, pytorch, name, batch, steps, count):
    """Seconds of each contestant in each round; the first round warms up and is dropped."""
    ask = {variant: (lambda v=variant, n=steps: pytorch.seconds(name, v, batch, n)) for variant in PYTORCH}
    for precision in ENGINE:
        ask[precision] = lambda p=precision, n=steps: engine.seconds(name, p, batch, 1, n)
    times = {contestant: [] for contestant in ask}
    order = list(ask)
    for number in range(count + 1):
        for contestant in order[number % len(order):] + order[: number % len(order)]:
            seconds = ask[contestant]()
            if number > 0:
                times[contestant].append(seconds)
    return times


def report(name, batch, steps, times):
    for contestant, seconds in times.items():
        print(f"{name:10} {contestant:14} {batch * steps / statistics.median(seconds):9.0f} images/s")
    for ours, theirs, goal in GOALS:
        ratios = [a / b for a, b in zip(times[ours], times[theirs])]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}, n = {len(ratios)}"
        print(f"{name:10} {ours} / {theirs:14} {statistics.median(ratios):.3f} ({spread}; goal {goal})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", help="one network of " + ", ".join(setting[0] for setting in SETTINGS))
    parser.add_argument("--engine", help="a built benchmark, else cargo builds it")
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds: with --threads 1, on a busy machine")
    options = parser.parse_args()
    engine = Contestant([options.engine or built()], options.threads, options.cpu_time)
    pytorch = Contestant([sys.executable, HERE / "contestant.py"], options.threads, options.cpu_time)
    for name, batch, steps in SETTINGS:
        if options.only in (None, name):
            times = rounds(engine, pytorch, name, batch, steps, options.rounds)
            report(name, batch, steps, times)


main()
