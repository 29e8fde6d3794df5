"""Trains ConvNet4 and ConvNet8 on CIFAR-10 in PyTorch, many runs side by side on one GPU, to compare target rules without ftprop.

    python3 cifar10_torch.py --data cifar-10-batches-bin --out runs.csv --jobs convnet8:sign:sste+softhinge:1-8,convnet4:sign:sste+softhinge:1-6

A job is network:activation:rules:seeds. Its runs start together: each has its steps in a CUDA graph and a stream of its own. Runs of one seed
have the same first weights, order of images and augmentation; dropout differs. Arithmetic is float32 without TF32; sums in cuDNN are not reproducible.

    network     convnet4 (Adam 2.5e-4, weight decay 5e-4, 30 epochs), convnet8 (1e-3, 5e-6, 20 epochs)
    activation  sign, qrelu (2 bits)
    rule        sste, softhinge, soft-reachX: the gradient times 1 - tanh(u)^2, u = (z - c)/(X rms of z - c over layer and batch), c the middle threshold

Batches are 64 images, cropped at random from 40x40 pixels and mirrored; the learning rate is a tenth from 199/300 and from 249/300 of the epochs on.
A line of the file has the test accuracy, in %, and the mean training loss of each epoch. --device cpu does without a GPU, --epochs and --steps make it short.
"""
import argparse, csv, os, time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

arguments = argparse.ArgumentParser()
arguments.add_argument("--data", required=True)
arguments.add_argument("--out", required=True)
arguments.add_argument("--jobs", required=True)
arguments.add_argument("--device", default="cuda")
arguments.add_argument("--epochs", type=int, default=0, help="0: the network's")
arguments.add_argument("--steps", type=int, default=0, help="of an epoch; 0: all")
o = arguments.parse_args()
device = torch.device(o.device)
cuda = device.type == "cuda"
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False


def threshold(forward, window):
    """An activation whose gradient is the one behind it times window(z)."""

    class Threshold(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return forward(z)

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return g * window(z)

    return Threshold.apply


def sign(z):
    return (z > 0).to(z.dtype) * 2 - 1


def stair(z):
    return (z * 2).ceil().clamp(0, 3) / 3


def soft_reach(z, reach, middle):
    u = z - middle
    w = 1 - torch.tanh(u / (reach * u.square().mean().sqrt())) ** 2
    return torch.where(w < 1e-12, torch.zeros_like(w), w)


def activation(name, rule):
    forward, middle = {"sign": (sign, 0.0), "qrelu": (stair, 0.5)}[name]
    if rule.startswith("soft-reach"):
        reach = float(rule.removeprefix("soft-reach"))
        return threshold(forward, lambda z: soft_reach(z, reach, middle))
    return threshold(forward, {
        ("sign", "sste"): lambda z: (z.abs() <= 1).to(z.dtype),
        ("sign", "softhinge"): lambda z: 1 - torch.tanh(z) ** 2,
        ("qrelu", "sste"): lambda z: ((z >= 0) & (z <= 1)).to(z.dtype),
        ("qrelu", "softhinge"): lambda z: 1 - torch.tanh(2 * z - 1) ** 2,
    }[name, rule])


class Act(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


def convnet4(f):
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=3), nn.MaxPool2d(2), Act(f), nn.Conv2d(32, 64, 5, padding=2), nn.MaxPool2d(2), Act(f),
        nn.Flatten(), nn.Linear(4096, 1024), Act(f), nn.Linear(1024, 10))


def convnet8(f):
    def conv(inputs, outputs, kernel, padding):
        return nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False), nn.BatchNorm2d(outputs, eps=1e-4)

    return nn.Sequential(
        nn.Conv2d(3, 48, 5, padding=2), nn.MaxPool2d(2), Act(f), *conv(48, 64, 3, 1), Act(f), *conv(64, 64, 3, 1), nn.MaxPool2d(2), Act(f),
        *conv(64, 128, 3, 0), Act(f), *conv(128, 128, 3, 1), Act(f), *conv(128, 128, 3, 0), Act(f), nn.Dropout2d(0.5), *conv(128, 512, 4, 0), Act(f),
        nn.Flatten(), nn.Linear(512, 10))


NETWORKS = {"convnet4": (convnet4, 2.5e-4, 5e-4, 30), "convnet8": (convnet8, 1e-3, 5e-6, 20)}  # and learning rate, weight decay, epochs

MEAN = torch.tensor([0.49139968, 0.48215841, 0.44653091], device=device).view(1, 3, 1, 1)
STD = torch.tensor([0.24703223, 0.24348513, 0.26158784], device=device).view(1, 3, 1, 1)


def normalised(x):
    return (x.float() / 255 - MEAN) / STD


def read(*names):
    raw = np.concatenate([np.fromfile(os.path.join(o.data, n), np.uint8).reshape(-1, 3073) for n in names])
    images, labels = raw[:, 1:].reshape(-1, 3, 32, 32).copy(), raw[:, 0].astype(np.int64)
    return torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)


images, labels = read(*[f"data_batch_{i}.bin" for i in range(1, 6)])
test_images, test_labels = read("test_batch.bin")
test_images = normalised(test_images)
SIDE = 40
padded = F.pad(images, (4, 4, 4, 4)).reshape(-1)
planes = torch.arange(3, device=device).view(1, 3, 1, 1) * SIDE * SIDE
pixels = torch.arange(32, device=device)
BATCH = 64
STEPS = o.steps or len(images) // BATCH


class Run:
    """A training: everything that changes from step to step lies on the device, so that a graph of one step does for all."""

    def __init__(self, network, act, rule, seed):
        self.key = network, act, rule, seed
        make, rate, decay, epochs = NETWORKS[network]
        self.epochs = o.epochs or epochs
        torch.manual_seed(seed)
        self.net = make(activation(act, rule)).to(device).train()
        self.rate = torch.tensor(rate, device=device)
        how = {"lr": self.rate, "fused": True, "capturable": True} if cuda else {"lr": rate}
        self.solver = torch.optim.Adam(self.net.parameters(), weight_decay=decay, **how)
        self.random = torch.Generator(device=device)
        self.random.manual_seed(1000 + seed)
        self.order, self.down, self.right, self.mirror = (torch.zeros(STEPS, BATCH, dtype=torch.long, device=device) for _ in range(4))
        self.at = torch.zeros(1, dtype=torch.long, device=device)
        self.loss = torch.zeros((), device=device)
        self.draw()
        if cuda:
            self.stream = torch.cuda.Stream()
            self.capture()

    def capture(self):
        before = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):  # what is allocated once is there before the capture
                self.step()
            self.stream.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=self.stream):
                self.step()
            self.net.load_state_dict(before)
            self.at.zero_()
            self.loss.zero_()
            for state in self.solver.state.values():
                for moment in state.values():
                    moment.zero_()
        torch.cuda.synchronize()

    def draw(self):
        """The order of the images and their augmentation, for an epoch."""
        order = torch.randperm(len(images), generator=self.random, device=device)
        self.order.copy_(order[: STEPS * BATCH].view(STEPS, BATCH))
        for what, n in (self.down, 9), (self.right, 9), (self.mirror, 2):
            what.copy_(torch.randint(0, n, (STEPS, BATCH), generator=self.random, device=device))
        self.at.zero_()
        self.loss.zero_()

    def step(self):
        image, down, right, mirror = (t.index_select(0, self.at).view(BATCH, 1) for t in (self.order, self.down, self.right, self.mirror))
        columns = torch.where(mirror == 1, 31 - pixels, pixels) + right
        rows = (pixels + down) * SIDE
        x = normalised(padded[image.view(BATCH, 1, 1, 1) * 3 * SIDE * SIDE + planes + rows.view(BATCH, 1, 32, 1) + columns.view(BATCH, 1, 1, 32)])
        for w in self.net.parameters():
            if w.grad is not None:
                w.grad.zero_()
        loss = F.cross_entropy(self.net(x), labels[image.view(BATCH)])
        loss.backward()
        self.solver.step()
        self.loss += loss.detach()
        self.at += 1

    def go(self):
        if cuda:
            with torch.cuda.stream(self.stream):
                self.graph.replay()
        else:
            self.step()

    def slow_down(self):
        self.rate.mul_(0.1)
        if not cuda:
            for group in self.solver.param_groups:
                group["lr"] *= 0.1

    def accuracy(self):
        self.net.eval()
        with torch.no_grad():
            right = sum((self.net(test_images[i : i + 1000]).argmax(1) == test_labels[i : i + 1000]).sum() for i in range(0, len(test_images), 1000))
        self.net.train()
        return 100 * right.item() / len(test_images)


def synchronise():
    if cuda:
        torch.cuda.synchronize()


with open(o.out, "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["network", "activation", "rule", "seed", "epochs", "test_by_epoch", "training_loss_by_epoch"])
    for job in o.jobs.split(","):
        network, act, rules, seeds = job.split(":")
        first, last = map(int, seeds.split("-"))
        runs = [Run(network, act, rule, seed) for seed in range(first, last + 1) for rule in rules.split("+")]
        start, epochs = time.time(), runs[0].epochs
        accuracies, losses = [[] for _ in runs], [[] for _ in runs]
        for epoch in range(epochs):
            for r in runs:
                if epoch > 0:
                    r.draw()
                    if epoch in (int(epochs * 199 / 300), int(epochs * 249 / 300)):
                        r.slow_down()
            synchronise()
            for _ in range(STEPS):
                for r in runs:
                    r.go()
            synchronise()
            for i, r in enumerate(runs):
                accuracies[i].append(r.accuracy())
                losses[i].append(r.loss.item() / STEPS)
            rate = STEPS * (epoch + 1) * len(runs) / (time.time() - start)
            print(f"{network} {act}, epoch {epoch + 1} of {epochs}, {rate:.0f} steps/s:", *(f"{r.key[2]} {r.key[3]}: {a[-1]:.2f}" for r, a in zip(runs, accuracies)), flush=True)
        for r, accuracy, loss in zip(runs, accuracies, losses):
            table.writerow([*r.key, epochs, " ".join(f"{a:.2f}" for a in accuracy), " ".join(f"{l:.5f}" for l in loss)])
        file.flush()
