"""PyTorch's side of the comparison: reads `MODEL VARIANT BATCH STEPS` lines, answers with seconds of wall and CPU time.

The networks are the engine's own (see the models under `src/nn/models`), written as anybody would write them. Batches
are cut and mirrored as whole tensors from images that stay in memory, as the engine does it, not image by image.
"""

import gzip
import pathlib
import sys
import time

import torch
import torch.nn.functional as F
import torchvision
from torch import nn


DATA = pathlib.Path(__file__).resolve().parents[4] / "data" / "fashion-mnist"


def read(name, header, *shape):
    content = bytearray(gzip.decompress((DATA / name).read_bytes())[header:])
    return torch.frombuffer(content, dtype=torch.uint8).reshape(-1, *shape)


class Loader:
    """Shuffled batches of Fashion-MNIST, randomly cut from a padding of 2 and mirrored."""

    def __init__(self, batch, layout):
        self.images = read("train-images-idx3-ubyte.gz", 16, 1, 28, 28)
        self.labels = read("train-labels-idx1-ubyte.gz", 8).long()
        pixels = self.images.float() / 255
        self.mean, self.std = pixels.mean(), pixels.std()
        self.batch, self.layout, self.order = batch, layout, torch.empty(0, dtype=torch.long)

    def next(self):
        if len(self.order) == 0:
            self.order = torch.randperm(len(self.labels))
        rows, self.order = self.order[: self.batch], self.order[self.batch :]
        windows = F.pad(self.images[rows], (2, 2, 2, 2)).unfold(2, 28, 1).unfold(3, 28, 1)
        top, left = torch.randint(5, (2, len(rows)))
        images = windows[torch.arange(len(rows)), :, top, left]
        mirrored = torch.rand(len(rows), 1, 1, 1) < 0.5
        images = torch.where(mirrored, images.flip(3), images).float().div_(255).sub_(self.mean).div_(self.std)
        return images.contiguous(memory_format=self.layout), self.labels[rows]


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
    def __init__(self, name, variant, batch):
        self.autocast = variant == "autocast"
        layout = torch.contiguous_format if variant == "contiguous" else torch.channels_last
        self.model = make(name, channels=1).to(memory_format=layout)
        self.loader = Loader(batch, layout)
        parameters = self.model.parameters()
        self.optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step(self):
        images, labels = self.loader.next()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            logits = self.model(images)
        loss = F.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def main():
    benches = {}
    for line in sys.stdin:
        *key, steps = line.split()
        if tuple(key) not in benches:
            benches[tuple(key)] = Bench(*key[:2], int(key[2]))
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(steps)):
            benches[tuple(key)].step()
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


main()
