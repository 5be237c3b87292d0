"""PyTorch's side of the comparison: reads `MODEL VARIANT BATCH CHANNELS SIDE STEPS` lines, answers with seconds of wall
and CPU time.

The networks are the engine's own (see the models under `src/nn/models`), written as anybody would write them.
"""

import sys
import time

import torch
import torch.nn.functional as F
import torchvision
from torch import nn


class Cnn(nn.Module):
    def __init__(self, channels, classes=10):
        super().__init__()
        block = lambda a, b: [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(
            *block(channels, 32), nn.MaxPool2d(2), *block(32, 64), nn.MaxPool2d(2), *block(64, 128),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
        self.fc = nn.Linear(128, classes)

    def forward(self, x):
        return self.fc(self.features(x))


def make(name, channels):
    if name == "cnn":
        return Cnn(channels)
    model = getattr(torchvision.models, name)(num_classes=10)
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


class Bench:
    def __init__(self, name, variant, batch, channels, side):
        self.autocast = variant == "autocast"
        layout = torch.contiguous_format if variant == "contiguous" else torch.channels_last
        self.model = make(name, channels).to(memory_format=layout)
        self.images = torch.randn(batch, channels, side, side).to(memory_format=layout)
        self.targets = torch.randint(10, (batch,))
        parameters = self.model.parameters()
        self.optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step(self):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            logits = self.model(self.images)
        loss = F.cross_entropy(logits.float(), self.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def main():
    benches = {}
    for line in sys.stdin:
        *key, steps = line.split()
        if tuple(key) not in benches:
            benches[tuple(key)] = Bench(*key[:2], *map(int, key[2:]))
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(steps)):
            benches[tuple(key)].step()
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


main()
