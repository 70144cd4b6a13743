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


class DecoderLayer(nn.Module):
    """A layer of Qwen2."""

    def __init__(self, dim: int, heads: int, kv: int, inner: int):
        super().__init__()
        self.heads, self.kv, self.dim = heads, kv, dim // heads
        self.norm1, self.norm2 = nn.RMSNorm(dim, eps=1e-6), nn.RMSNorm(dim, eps=1e-6)
        self.q, self.k, self.v = (nn.Linear(dim, n * self.dim) for n in (heads, kv, kv))
        self.o = nn.Linear(dim, dim, bias=False)
        self.gate, self.up = nn.Linear(dim, inner, bias=False), nn.Linear(dim, inner, bias=False)
        self.down = nn.Linear(inner, dim, bias=False)

    def forward(self, x, cache, past, cos, sin):
        rows, n, _ = x.shape
        h = self.norm1(x)
        part = lambda layer, heads: layer(h).view(rows, n, heads, self.dim).transpose(1, 2)
        half = self.dim // 2
        rotate = lambda t: t * cos + torch.cat([-t[..., half:], t[..., :half]], -1) * sin
        q, keys, values = rotate(part(self.q, self.heads)), cache[0], cache[1]
        keys[:, :, past:past + n] = rotate(part(self.k, self.kv))
        values[:, :, past:past + n] = part(self.v, self.kv)
        y = F.scaled_dot_product_attention(
            q, keys[:, :, :past + n], values[:, :, :past + n], is_causal=n > 1, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).reshape(rows, n, -1))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    """The decoder of stacks.rs, with a preallocated cache."""

    def __init__(self, dim, heads, kv, inner, layers, vocabulary):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, kv, inner) for _ in range(layers))
        self.embed, self.norm = nn.Embedding(vocabulary, dim), nn.RMSNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, vocabulary, bias=False)
        self.shape = (2, kv, CONTEXT + WRITTEN, dim // heads)
        angles = torch.outer(torch.arange(CONTEXT + WRITTEN).float(), 1e6 ** (-torch.arange(0, dim // heads, 2) * heads / dim))
        self.cos, self.sin = torch.cat([angles, angles], 1).cos(), torch.cat([angles, angles], 1).sin()

    def caches(self, rows):
        return [torch.zeros(self.shape[0], rows, *self.shape[1:]) for _ in self.layers]

    def forward(self, ids, caches, past):
        x, n = self.embed(ids), ids.shape[1]
        for layer, cache in zip(self.layers, caches):
            x = layer(x, cache, past, self.cos[past:past + n], self.sin[past:past + n])
        return self.head(self.norm(x[:, -1:]))[:, 0].argmax(-1, keepdim=True)


CONTEXT, WRITTEN = 128, 32


def decode(wanted):
    """Times the writing of 32 tokens, as stacks.rs does."""
    decoders = [("decode256", (256, 8, 2, 768, 4, 2048)), ("decode1024", (1024, 16, 4, 2816, 8, 32_000))]
    for name, sizes in decoders:
        names = [(rows, f"{name}-{rows:02}") for rows in (1, 4, 16) if wanted in f"{name}-{rows:02}"]
        decoder = Decoder(*sizes) if names else None
        for rows, name in names:
            with torch.inference_mode():
                caches = decoder.caches(rows)
                first = decoder(torch.ones(rows, CONTEXT, dtype=torch.long), caches, 0)

                def run():
                    token = first
                    for step in range(WRITTEN):
                        token = decoder(token, caches, CONTEXT + step)

                wall, cpu = measure(run)
            print(f"{name}\tpytorch\t{wall:.2f}\t{cpu:.2f}", flush=True)


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
    decode(wanted)
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
