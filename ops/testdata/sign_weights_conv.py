"""Prints sign_weights_conv.json: one step of gradient descent of a small convolution with sign weights, trained straight-through, by
PyTorch's automatic differentiation.

Run: python3 sign_weights_conv.py | gzip -n9 > sign_weights_conv.json.gz. It is computed in float64, on inputs that float32 holds.
"""

import json

import torch
import torch.nn.functional as F


def main():
    torch.manual_seed(7)
    rate = 0.1
    x = torch.randn(2, 3, 5, 5).double()
    w = (0.8 * torch.randn(4, 3, 3, 3)).double()
    flat = w.view(-1)
    flat[0], flat[30], flat[31], flat[60] = 0.0, 1.0, -1.0, -0.0
    target = torch.randn(2, 4, 5, 5).double()
    start = w.clone()
    w.requires_grad_()

    a = w.abs().mean(dim=(1, 2, 3), keepdim=True).detach()
    c = w.clamp(-1, 1)  # whose derivative is 1 at both ends
    s = torch.where(w > 0, 1.0, -1.0).double()
    wq = a * (c + (s - c).detach())
    output = F.conv2d(x, wq, padding=1)
    loss = ((output - target) ** 2).mean()
    loss.backward()

    numbers = lambda t: t.detach().reshape(-1).tolist()
    print(json.dumps({
        "x_shape": list(x.shape), "w_shape": list(w.shape), "target_shape": list(target.shape), "learning_rate": rate,
        "x": numbers(x), "w": numbers(start), "target": numbers(target), "quantised": numbers(wq), "output": numbers(output),
        "loss": loss.item(), "grad": numbers(w.grad), "after": numbers(w - rate * w.grad),
    }))


main()
