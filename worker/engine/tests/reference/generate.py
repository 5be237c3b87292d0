"""Writes the figures that the engine's tests compare with, computed by PyTorch itself in double precision.

    pip install torch==2.11.0 torchvision numpy && python generate.py

Weights and images come from an integer hash that both sides compute, so that no weights need to be stored.
"""

import copy
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

HERE = pathlib.Path(__file__).parent
torch.set_default_dtype(torch.float64)


def pattern(index, shape):
    """Numbers in [-1, 1), the same as `pattern` in ../support: a Weyl sequence of 32-bit integers."""
    count = int(np.prod(shape, dtype=np.int64))
    words = (np.arange(count, dtype=np.uint64) * 2654435761 + index * 2246822519 + 374761393) & 0xFFFFFFFF
    words ^= words >> 15
    words = (words * 2246822519) & 0xFFFFFFFF
    words ^= words >> 13
    return torch.from_numpy((words.astype(np.float64) / 2**31 - 1.0).astype(np.float32).astype(np.float64)).reshape(shape)


def fill(model):
    """Weights of the size that He initialization gives, running statistics away from their start, and norms that put
    every rectifier well on one side, so that rounding tips none over: that would change gradients out of proportion."""
    for index, (name, tensor) in enumerate(model.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        values = pattern(index, tensor.shape)
        if tensor.dim() > 1:
            values = values * np.float32((6.0 / tensor[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            values = 1.0 + 0.5 * values
        elif name.endswith("weight"):
            values = 0.2 + 0.1 * values
        elif name.endswith("bias") and not name.startswith(("fc", "hidden")):
            values = 1.0 - 2.0 * (torch.arange(len(values)) % 2)
        else:
            values = 0.1 * values
        tensor.copy_(values.float().double())


class Mlp(nn.Module):
    def __init__(self, features, hidden, classes):
        super().__init__()
        sizes = [features, *hidden]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.fc = nn.Linear(sizes[-1], classes)

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.fc(x)


class Cnn(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        for block, (a, b) in enumerate([(channels, 32), (32, 64), (64, 128)], start=1):
            setattr(self, f"conv{block}", nn.Conv2d(a, b, 3, padding=1, bias=False))
            setattr(self, f"bn{block}", nn.BatchNorm2d(b))
        self.fc = nn.Linear(128, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.relu(self.bn3(self.conv3(x)))
        return self.fc(x.mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        active = F.relu(self.bn1(x))
        shortcut = self.shortcut(active) if hasattr(self, "shortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + shortcut


class WideResNet(nn.Module):
    def __init__(self, depth, factor, channels, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        inputs = 16
        for stage in (1, 2, 3):
            blocks = []
            for index in range((depth - 4) // 6):
                outputs = (8 << stage) * factor
                blocks.append(WideBlock(inputs, outputs, 2 if stage > 1 and index == 0 else 1))
                inputs = outputs
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(F.relu(self.bn(x)).mean((2, 3)))


def resnet(make, stem, channels, classes):
    model = make(num_classes=classes)
    if stem == "cifar":
        model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    return model


def training_step(model, images, bf16=False):
    """Logits and every parameter's gradient."""
    targets = torch.arange(len(images)) % 7
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model.train()(images)
    F.cross_entropy(logits if not bf16 else logits.float(), targets).backward()
    return logits.detach().double(), {key: p.grad.double() for key, p in model.named_parameters()}


def relative(found, exact):
    return ((found - exact).norm() / exact.norm()).item()


def rounding(model, images, exact_logits, exact):
    """How far PyTorch's own f32 and bf16 are from double precision: nobody can be asked to be closer."""
    model32, model16 = copy.deepcopy(model).float(), copy.deepcopy(model).float()
    logits, _ = training_step(model32, images.float())
    _, rough = training_step(model16, images.float(), bf16=True)
    flat = lambda grads: torch.cat([g.flatten() for g in grads.values()])
    return {
        "trained": relative(logits, exact_logits),
        "bf16_cosine": F.cosine_similarity(flat(rough), flat(exact), dim=0).item(),
    }


def case(name, specification, model, shape):
    """Logits in both modes, one training step's gradients and running statistics."""
    fill(model)
    images = pattern(1000, shape)
    entry = {"name": name, "model": specification, "shape": list(shape), "classes": 7}
    with torch.no_grad():
        entry["evaluated"] = model.eval()(images).flatten().tolist()
    untouched = copy.deepcopy(model)
    logits, gradients = training_step(model, images)
    entry["rounding"] = rounding(untouched, images, logits, gradients)
    print(name, entry["rounding"])
    entry["trained"] = logits.flatten().tolist()
    digest = lambda tensor: [tensor.norm().item(), (tensor * pattern(3, tensor.shape)).sum().item()]
    entry["gradients"] = {key: digest(gradient) for key, gradient in gradients.items()}
    entry["statistics"] = {key: digest(buffer.double()) for key, buffer in model.named_buffers()}
    entry["names"] = [[key, list(tensor.shape)] for key, tensor in model.state_dict().items()]
    return entry


def cases():
    tv = torchvision.models
    yield case("mlp", {"architecture": {"mlp": {"hidden": [20, 12]}}}, Mlp(3 * 5 * 4, [20, 12], 7), (4, 3, 5, 4))
    yield case("cnn", {"architecture": "cnn"}, Cnn(1, 7), (8, 1, 12, 10))
    for name in ("resnet18", "resnet34", "resnet50"):
        for stem, size in (("cifar", 16), ("imagenet", 64)):
            model = resnet(getattr(tv, name), stem, 3, 7)
            yield case(f"{name}-{stem}", {"architecture": name, "stem": stem}, model, (8, 3, size, size))
    wide = {"wide_resnet": {"depth": 16, "widen_factor": 2}}
    yield case("wide_resnet", {"architecture": wide}, WideResNet(16, 2, 3, 7), (8, 3, 16, 16))


def optimized(name, options, decay_biases_and_norms, make):
    """The parameters of a small network after 20 steps, and its losses."""
    model = Mlp(16, [12], 7)
    fill(model)
    parameters = list(model.parameters())
    if not decay_biases_and_norms:
        weights = [p for p in parameters if p.dim() > 1]
        others = [p for p in parameters if p.dim() <= 1]
        parameters = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    optimizer = make(parameters)
    losses = []
    for step in range(20):
        images, targets = pattern(2000 + step, (8, 1, 4, 4)), torch.arange(8) % 7
        loss = F.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    final = {key: tensor.flatten().tolist() for key, tensor in model.named_parameters()}
    return {
        "name": name, "options": options, "decay_biases_and_norms": decay_biases_and_norms,
        "rate": optimizer.defaults["lr"], "losses": losses, "parameters": final,
    }


def optimizers():
    o = torch.optim
    yield optimized(
        "nesterov", {"sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}}, True,
        lambda p: o.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    )
    yield optimized(
        "plain momentum", {"sgd": {"momentum": 0.8, "nesterov": False, "weight_decay": 0.1}}, False,
        lambda p: o.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.1),
    )
    yield optimized(
        "no momentum", {"sgd": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}}, True,
        lambda p: o.SGD(p, lr=0.05),
    )
    yield optimized(
        "adam", {"adam": {"betas": [0.9, 0.99], "epsilon": 1e-6, "weight_decay": 0.01}}, True,
        lambda p: o.Adam(p, lr=0.01, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.01),
    )
    yield optimized(
        "adamw", {"adamw": {"betas": [0.9, 0.999], "epsilon": 1e-8, "weight_decay": 0.1}}, True,
        lambda p: o.AdamW(p, lr=0.01, weight_decay=0.1),
    )
    yield optimized(
        "adamw, weights only", {"adamw": {"betas": [0.9, 0.999], "epsilon": 1e-8, "weight_decay": 0.1}}, False,
        lambda p: o.AdamW(p, lr=0.01, weight_decay=0.1),
    )


def calibration():
    """Running statistics as torch.optim.swa_utils.update_bn recomputes them from three batches."""
    model = Cnn(1, 7)
    fill(model)
    batches = [pattern(3000 + step, (8, 1, 4, 4)) for step in range(3)]
    torch.optim.swa_utils.update_bn(batches, model)
    return {key: buffer.flatten().tolist() for key, buffer in model.named_buffers()}


def main():
    write = lambda name, value: (HERE / name).write_text(json.dumps(value) + "\n")
    write("models.json", list(cases()))
    write("optimizers.json", list(optimizers()))
    write("calibration.json", calibration())


main()
