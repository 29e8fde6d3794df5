"""Writes pytorch_convnet8.safetensors and .json: weights of a small ConvNet8 as PyTorch makes them, images and their logits in
evaluation mode. Needs Debian's python3-torch; python3-safetensors is not needed, the format is written out below.

    /usr/bin/python3 make_pytorch.py            writes the files
    /usr/bin/python3 make_pytorch.py FILE JSON  loads FILE, which Net.Save wrote, and compares its logits with those in JSON
"""
import json, struct, sys
import numpy as np
import torch
from collections import OrderedDict
from torch import nn

WIDTHS = (4, 4, 6, 4, 6, 4, 8)


class Sign(nn.Module):
    def forward(self, z):
        return (z > 0).to(z.dtype) * 2 - 1


def network():
    w, blocks, i = WIDTHS, OrderedDict(), 3
    for n, (k, p) in enumerate([(5, 2), (3, 1), (3, 1), (3, 0), (3, 1), (3, 0), (4, 0)]):
        b = OrderedDict()
        b[f"conv{n}"] = nn.Conv2d(i, w[n], k, padding=p, bias=n == 0)
        if n:
            b[f"batchnorm{n}"] = nn.BatchNorm2d(w[n], eps=1e-4)
        if n in (0, 2):
            b[f"maxpool{n // 2}"] = nn.MaxPool2d(2)
        b[f"nonlin{max(n, 1)}"] = Sign()
        blocks[f"block{n}"], i = nn.Sequential(b), w[n]
    blocks["block7"] = nn.Sequential(OrderedDict([("reshape_fc1", nn.Flatten()), ("fc1", nn.Linear(i, 10))]))
    net = nn.Module()
    net.all_modules = nn.Sequential(blocks)
    return net


def save(state, path):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, t in state.items():
        a = t.numpy()
        b = a.tobytes()
        header[name] = {"dtype": {"float32": "F32", "int64": "I64"}[str(a.dtype)], "shape": list(a.shape), "data_offsets": [len(data), len(data) + len(b)]}
        data += b
    h = json.dumps(header).encode()
    h += b" " * (-len(h) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(h)) + h + data)


def load(path):
    b = open(path, "rb").read()
    n, = struct.unpack("<Q", b[:8])
    header, data = json.loads(b[8:8 + n]), b[8 + n:]
    header.pop("__metadata__", None)
    kinds = {"F32": np.float32, "I64": np.int64}
    return {k: torch.from_numpy(np.frombuffer(data[v["data_offsets"][0]:v["data_offsets"][1]], kinds[v["dtype"]]).reshape(v["shape"]).copy()) for k, v in header.items()}


torch.manual_seed(7)
net = network()
if len(sys.argv) > 1:
    want = json.load(open(sys.argv[2]))
    net.load_state_dict(load(sys.argv[1]))
    got = net.eval().all_modules(torch.tensor(want["input"]).reshape(-1, 3, 32, 32))
    print("largest difference of logits", (got - torch.tensor(want["logits"]).reshape(got.shape)).abs().max().item())
else:
    for _ in range(3):  # running statistics that are not the initial ones
        net.train().all_modules(torch.randn(8, 3, 32, 32) * 2 + 0.5)
    x = torch.round(torch.randn(2, 3, 32, 32) * 64) / 64
    with torch.no_grad():
        y = net.eval().all_modules(x)
    save(net.state_dict(), "pytorch_convnet8.safetensors")
    json.dump({"widths": WIDTHS, "input": x.flatten().tolist(), "logits": y.flatten().tolist()}, open("pytorch_convnet8.json", "w"))
