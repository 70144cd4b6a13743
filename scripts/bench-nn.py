"""The stacks of crates/juror-nn/benches/stacks.rs and the steps of crates/juror-train/benches/steps.rs in PyTorch: same shapes,
same work, same output format."""

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


def pool(x):
    """Mean and deviation over the tokens of [n, tokens, dim]."""
    return torch.cat([x.mean(1), (x.var(1, correction=0) + 1e-5).sqrt()], -1)


class NanoMixer(MixerBlock):
    """A mixer of nano: channels are widened twice, not four times."""

    def __init__(self, tokens: int, dim: int):
        super().__init__(tokens, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)


class Contrast(nn.Module):
    """nano's contrast of two videos."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.difference, self.common = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.out = nn.Linear(hidden, 1, bias=False)

    def forward(self, x, a, b):
        d, c = self.difference(x), self.common(x)
        difference, common = d[a] - d[b], c[a] + c[b]
        return self.out((F.gelu(common + difference) - F.gelu(common - difference)).mean(1)).squeeze(1)


class NanoBody(nn.Module):
    """The body of nano (crates/juror-lmm/src/nano/body.rs)."""

    def __init__(self, patch=64, fragment=160, trunk=192, temporal=96, kinds=15, profile=109):
        super().__init__()
        self.embed = nn.Linear(384, patch)
        self.position, self.grain = nn.Parameter(torch.randn(16, patch) * 0.02), nn.Parameter(torch.randn(2, patch) * 0.02)
        self.mixers = nn.Sequential(NanoMixer(16, patch), NanoMixer(16, patch))
        self.patch_norm, self.fragment = nn.LayerNorm(patch), nn.Linear(2 * patch, fragment)
        self.pooled_norm, self.facts, self.tone = nn.LayerNorm(4 * fragment), nn.Linear(6, 32), nn.Linear(16, 48)
        self.trunk, self.visual = nn.Linear(4 * fragment + 80, trunk), nn.Linear(trunk, 2)
        self.temporal_norm, self.temporal_in = nn.LayerNorm(profile), nn.Linear(2 * profile + 32, temporal)
        self.temporal_mid, self.temporal = nn.Linear(temporal, temporal), nn.Linear(temporal, 2)
        self.dominant, self.severity = nn.Linear(trunk + temporal, kinds + 1), nn.Linear(trunk + temporal, kinds)
        self.place_contrast, self.whole_contrast = Contrast(fragment, 48), Contrast(trunk + temporal, 48)

    def forward(self, patches, native, profile, tone, facts, a, b):
        videos, moments, places = patches.shape[:3]
        grain = torch.cat([self.grain[:1].expand(native, -1), self.grain[1:].expand(places - native, -1)])
        x = self.embed(patches) + (grain[:, None] + self.position)
        x = self.mixers(x.reshape(videos * moments * places, 16, -1))
        vectors = F.gelu(self.fragment(pool(self.patch_norm(x)))).reshape(videos, moments, places, -1)
        flat = lambda part: part.reshape(videos, -1, part.shape[-1])
        pooled = torch.cat([pool(flat(vectors[:, :, :native])), pool(flat(vectors[:, :, native:]))], -1)
        facts = F.gelu(self.facts(facts))
        trunk = F.gelu(self.trunk(torch.cat([self.pooled_norm(pooled), F.gelu(self.tone(tone)), facts], -1)))
        temporal = F.gelu(self.temporal_in(torch.cat([profile, self.temporal_norm(profile), facts], -1)))
        temporal = F.gelu(self.temporal_mid(temporal))
        both = torch.cat([trunk, temporal], -1)
        contrast = self.place_contrast(flat(vectors), a, b) + self.whole_contrast(both[:, None], a, b)
        visual, penalty = self.visual(trunk), -F.softplus(self.temporal(temporal))
        return [*visual.unbind(1), *penalty.unbind(1), self.dominant(both), self.severity(both), contrast]


class NanoBlock(nn.Module):
    """A block of nano's decoder."""

    def __init__(self, dim: int, heads: int, inner: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, inner), nn.Linear(inner, dim)

    def forward(self, x):
        batch, n, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, n, dim)
        x = x + self.out(seen)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class NanoDecoder(nn.Module):
    """The decoder of nano (crates/juror-lmm/src/nano/decoder.rs)."""

    def __init__(self, dim=128, vocabulary=512):
        super().__init__()
        self.projector = nn.ModuleList(nn.Linear(n, dim) for n in (640, 320, 205, 192, 35))
        self.slot, self.owner = nn.Parameter(torch.randn(20, dim) * 0.02), nn.Parameter(torch.randn(2, dim) * 0.02)
        self.video_norm, self.norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.embedding, self.position = nn.Embedding(vocabulary, dim), nn.Parameter(torch.randn(256, dim) * 0.02)
        self.blocks = nn.Sequential(*(NanoBlock(dim, 4, 384) for _ in range(4)))
        self.margin_in, self.margin_out = nn.Linear(dim, 64), nn.Linear(64, 1)
        self.margin_scale, self.margin_offset = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def project(self, parts, owner):
        tokens = torch.cat([layer(part) for layer, part in zip(self.projector, parts)], 1)
        return self.video_norm(tokens) + (self.slot + self.owner[owner])

    def forward(self, a, b, ids, rank):
        x = torch.cat([self.project(a, 0), self.project(b, 1), self.embedding(ids)], 1)
        hidden = self.norm(self.blocks(x + self.position[:x.shape[1]]))[:, -ids.shape[1]:]
        shift = self.margin_out(F.gelu(self.margin_in(hidden[:, 0]))).squeeze(1)
        logit = rank * self.margin_scale + self.margin_offset
        return F.linear(hidden, self.embedding.weight), 4 * (torch.sigmoid(logit + shift) - torch.sigmoid(logit - shift))


def nano(wanted):
    """Times one optimiser step of nano's body and of its decoder, as steps.rs does."""
    groups, versions, native, pairs, pieces = 6, 8, 9, 24, 80
    videos = groups * versions
    patches = torch.randn(videos, 2, native + 3, 16, 384)
    numbers = [torch.full((videos, n), 0.3) for n in (109, 16, 6)]
    within = [(a, b) for a in range(videos) for b in range(a + 1, a - a % versions + versions)]
    a, b = torch.tensor(within).T
    video = [torch.randn(pairs, tokens, n) for tokens, n in ((8, 640), (9, 320), (1, 205), (1, 192), (1, 35))]
    ids, rank = torch.arange(pairs * pieces).reshape(pairs, pieces) * 31 % 512, torch.randn(pairs)

    def body_loss(net):
        return sum(out.square().mean() for out in net(patches, native, *numbers, a, b))

    def decoder_loss(net):
        logits, margin = net(video, video, ids, rank)
        return F.cross_entropy(logits.flatten(0, 1), ids.flatten()) + margin.square().mean()

    for name, build, loss in [("nano-body", NanoBody, body_loss), ("nano-decoder", NanoDecoder, decoder_loss)]:
        if wanted in name:
            net = build()
            adamw = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)

            def step():
                adamw.zero_grad()
                loss(net).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                adamw.step()

            wall, cpu = measure(step)
            print(f"{name}\tpytorch\t{wall:.2f}\t{cpu:.2f}", flush=True)


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
    nano(wanted)
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
