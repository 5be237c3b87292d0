"""Writes `training.json`: a whole training run as PyTorch does it, in double precision, for the engine to agree with.

    pip install torch==2.11.0 numpy && python training.py

Initial weights and data order come from the engine's own random streams, which are defined by integer arithmetic and so
are easily told again here; everything else is PyTorch's: layers, loss, optimizer, schedule. The learning rate is
small enough that rounding tips no rectifier: at 0.05, PyTorch in single precision is itself 2e-4 away, at 0.02 it is 5e-6.
"""

import gzip
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).parent
DATA = HERE.parents[3] / "data" / "fashion-mnist"
SAMPLES, BATCH, EPOCHS, SEED = 70, 40, 10, 7 << 16 | 3
MASK = (1 << 64) - 1
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
INITIALIZATION, DATA_ORDER = 1, 2
torch.set_default_dtype(torch.float64)


def mix(z):
    z = (z ^ z >> 30) * FIRST & MASK
    z = (z ^ z >> 27) * SECOND & MASK
    return z ^ z >> 31


class Stream:
    """As `random.rs` defines it."""

    def __init__(self, purpose, step):
        start = mix((SEED + GOLDEN) & MASK)
        start = mix(start ^ mix(purpose * GOLDEN & MASK))
        twist = mix(start ^ SECOND)
        self.start = mix(start ^ mix((step * GOLDEN + twist) & MASK))
        self.twist = mix(self.start ^ SECOND)

    def bits(self, index):
        z = (self.start + index * GOLDEN) & MASK
        z = ((z ^ z >> 30) * FIRST & MASK) ^ self.twist
        z = (z ^ z >> 27) * SECOND & MASK
        return z ^ z >> 31

    def symmetric(self, shape, bound):
        values = [(2 * ((self.bits(i) >> 11) / 2**53) - 1) * bound for i in range(int(np.prod(shape)))]
        return torch.tensor(np.array(values, dtype=np.float32).astype(np.float64)).reshape(shape)

    def permutation(self, length):
        order = list(range(length))
        for last in range(length - 1, 0, -1):
            other = self.bits(last) * (last + 1) >> 64
            order[last], order[other] = order[other], order[last]
        return order


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        for block, (a, b) in enumerate([(1, 32), (32, 64), (64, 128)], start=1):
            setattr(self, f"conv{block}", nn.Conv2d(a, b, 3, padding=1, bias=False))
            setattr(self, f"bn{block}", nn.BatchNorm2d(b))
        self.fc = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.fc(F.relu(self.bn3(self.conv3(x))).mean((2, 3)))


def initialize(model):
    """PyTorch's default bounds: one over the square root of the inputs of a unit."""
    fan_in = 0
    for index, (name, parameter) in enumerate(model.named_parameters()):
        if name.startswith("bn"):
            continue
        fan_in = parameter[0].numel() if parameter.dim() > 1 else fan_in
        parameter.data = Stream(INITIALIZATION, index).symmetric(parameter.shape, 1 / fan_in**0.5)


def read(name, header, size):
    with gzip.open(DATA / name) as file:
        return np.frombuffer(file.read(header + SAMPLES * size), np.uint8)[header:]


def main():
    pixels = read("train-images-idx3-ubyte.gz", 16, 784).reshape(SAMPLES, 1, 28, 28) / 255.0
    images = torch.from_numpy((pixels - pixels.mean()) / pixels.std())
    labels = torch.from_numpy(read("train-labels-idx1-ubyte.gz", 8, 1).astype(np.int64))
    model = Cnn()
    initialize(model)
    steps = EPOCHS * -(-SAMPLES // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    average = model.fc.bias.detach().clone()
    losses, step = [], 0
    for epoch in range(EPOCHS):
        for batch in torch.tensor(Stream(DATA_ORDER, epoch).permutation(SAMPLES)).split(BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images[batch]), labels[batch], label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            schedule.step()
            kept = min(0.9, (1 + step) / (10 + step))
            average = kept * average + (1 - kept) * model.fc.bias.detach()
            losses.append(loss.item())
            step += 1
    figures = {
        "losses": losses,
        "fc.bias": model.fc.bias.tolist(),
        "bn1.running_var": model.bn1.running_var.tolist(),
        "average fc.bias": average.tolist(),
    }
    (HERE / "training.json").write_text(json.dumps(figures, indent=1) + "\n")


main()
