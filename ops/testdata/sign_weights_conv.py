"""Prints sign_weights_conv.json: one step of a small convolution with sign weights, by automatic differentiation of the formula that
PyTorch would be given:

    a  = w.abs().mean(dim=(1, 2, 3), keepdim=True).detach()
    c  = w.clamp(-1, 1)
    s  = torch.where(w > 0, 1.0, -1.0)
    wq = a * (c + (s - c).detach())
    loss = ((F.conv2d(x, wq, padding=1) - target) ** 2).mean()
    loss.backward()
    w -= 0.1 * w.grad

Run with Python 3 alone: python3 sign_weights_conv.py | gzip -n9 > sign_weights_conv.json.gz. The numbers are those of Python's floats, which are float64, on inputs
that float32 holds. PyTorch was not used.
"""

import json
import random
import struct


class Number:
    """A number that remembers what it was computed from, and the derivatives."""

    def __init__(self, value, parents=()):
        self.value, self.parents, self.grad = value, parents, 0.0

    def __add__(self, other):
        return Number(self.value + other.value, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        return Number(self.value * other.value, ((self, other.value), (other, self.value)))

    def detach(self):
        return Number(self.value)

    def minus(self, other):
        return self + other * Number(-1.0)

    def clamp(self):  # the derivative of PyTorch's is 1 at both ends
        inside = -1.0 <= self.value <= 1.0
        return Number(min(max(self.value, -1.0), 1.0), ((self, 1.0 if inside else 0.0),))


def backward(loss):
    order, seen = [], set()
    stack = [(loss, False)]
    while stack:
        n, done = stack.pop()
        if done:
            order.append(n)
        elif id(n) not in seen:
            seen.add(id(n))
            stack.append((n, True))
            stack.extend((p, False) for p, _ in n.parents)
    loss.grad = 1.0
    for n in reversed(order):
        for p, d in n.parents:
            p.grad += d * n.grad


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def main():
    rng = random.Random(7)
    samples, channels, size, filters, kernel, rate = 2, 3, 5, 4, 3, 0.1
    normal = lambda n, scale: [single(rng.gauss(0, scale)) for _ in range(n)]
    x = normal(samples * channels * size * size, 1)
    start = normal(filters * channels * kernel * kernel, 0.8)
    start[0], start[30], start[31], start[60] = 0.0, 1.0, -1.0, -0.0
    target = normal(samples * filters * size * size, 1)

    w = [Number(v) for v in start]
    row = channels * kernel * kernel
    quantised = []
    for f in range(filters):
        scale = Number(sum(abs(v.value) for v in w[f * row:(f + 1) * row]) / row)
        for v in w[f * row:(f + 1) * row]:
            c = v.clamp()
            s = Number(1.0 if v.value > 0 else -1.0)
            quantised.append(scale * (c + s.minus(c).detach()))

    loss, count = Number(0.0), samples * filters * size * size
    output = []
    for n in range(samples):
        for f in range(filters):
            for i in range(size):
                for j in range(size):
                    y = Number(0.0)
                    for c in range(channels):
                        for a in range(kernel):
                            for b in range(kernel):
                                k, l = i + a - 1, j + b - 1
                                if 0 <= k < size and 0 <= l < size:
                                    pixel = x[((n * channels + c) * size + k) * size + l]
                                    y = y + quantised[(f * channels + c) * kernel * kernel + a * kernel + b] * Number(pixel)
                    output.append(y.value)
                    error = y.minus(Number(target[((n * filters + f) * size + i) * size + j]))
                    loss = loss + error * error * Number(1 / count)
    backward(loss)
    print(json.dumps({
        "x_shape": [samples, channels, size, size], "w_shape": [filters, channels, kernel, kernel], "target_shape": [samples, filters, size, size],
        "learning_rate": rate, "x": x, "w": start, "target": target, "quantised": [q.value for q in quantised], "output": output,
        "loss": loss.value, "grad": [v.grad for v in w], "after": [v.value - rate * v.grad for v in w],
    }))


main()
