"""The stacks of crates/juror-nn/benches/stacks.rs in PyTorch: same shapes, same work, same output format."""

import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class VitBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, dim)
        x = x + self.proj(mixed)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class MixerBlock(nn.Module):
    """MLP-Mixer block."""

    def __init__(self, tokens: int, dim: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.token1, self.token2 = nn.Linear(tokens, 2 * tokens), nn.Linear(2 * tokens, tokens)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        h = F.gelu(self.token1(self.norm1(x).transpose(1, 2)))
        x = x + self.token2(h).transpose(1, 2)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


def measure(run):
    """Median wall time and mean processor time (all threads), in milliseconds."""
    run()
    times, begin, cpu = [], time.perf_counter(), time.process_time()
    while len(times) < 5 or time.perf_counter() - begin < 1.5:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times), (time.process_time() - cpu) * 1e3 / len(times)


def main():
    torch.manual_seed(1)
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for name, shape, heads in [("vit384", (8, 196, 384), 6), ("vit192", (8, 196, 192), 3), ("mixer96", (400, 16, 96), 0)]:
        blocks = [VitBlock(shape[2], heads) for _ in range(6)] if heads else [MixerBlock(*shape[1:]) for _ in range(4)]
        stack, x = nn.Sequential(*blocks), torch.randn(shape)

        def forward():
            with torch.inference_mode():
                stack(x)

        adamw = torch.optim.AdamW(stack.parameters(), lr=1e-3, fused=True)

        def train():
            adamw.zero_grad()
            stack(x).square().mean().backward()
            adamw.step()

        for kind, run in [("forward", forward), ("train", train)]:
            if wanted in f"{name}-{kind}":
                wall, cpu = measure(run)
                print(f"{name}-{kind}\tpytorch\t{wall:.2f}\t{cpu:.2f}", flush=True)


main()
