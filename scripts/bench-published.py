#!/usr/bin/env python3
"""Times the published networks in juror and in Python, side by side in one run, and prints a table with the ratios.

    scripts/bench-published.py --juror target/release/juror --scale tiny --family qwen3-vl
    scripts/bench-published.py --juror .../juror --device cuda:0 --clips 8          (all families at their real sizes)

Both sides have the same sizes, random weights and numbers of tokens; juror's report says what they are. The Python side is
transformers (`transformers`; VQAThinker's motion tower, which it lacks, is written out in PyTorch), and for the decoder also bare
PyTorch (`plain`): the same layers written out by hand with scaled_dot_product_attention and a preallocated cache. Ratios are speeds, juror's over theirs, the better of the
runs (`--runs`, in turns). juror's vision includes resizing and normalising the pictures, the Python side gets them ready.
"""

import argparse
import json
import re
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F
from torch import nn


def text_keys(config):
    """The decoder's section of a config.json."""
    return config.get("llm_config") or config.get("text_config") or config


class PlainDecoder(nn.Module):
    """A Qwen2 or Qwen3 decoder, as bare as it gets: tokens in, greedy tokens out."""

    def __init__(self, keys, qwen3, device, dtype):
        super().__init__()
        self.width, self.heads, self.kv = keys["hidden_size"], keys["num_attention_heads"], keys["num_key_value_heads"]
        self.dim = keys.get("head_dim", self.width // self.heads)
        self.qwen3, inner, vocabulary = qwen3, keys["intermediate_size"], keys["vocab_size"]
        rand = lambda *shape: torch.randn(*shape, device=device, dtype=dtype) / shape[-1] ** 0.5
        rows = (self.heads + 2 * self.kv) * self.dim
        ones = lambda n: torch.ones(n, device=device, dtype=dtype)
        self.layers = [
            {"n1": ones(self.width), "n2": ones(self.width), "qkv": rand(rows, self.width), "b": ones(rows),
             "qn": ones(self.dim), "kn": ones(self.dim), "o": rand(self.width, self.heads * self.dim),
             "up": rand(2 * inner, self.width), "down": rand(self.width, inner)}
            for _ in range(keys["num_hidden_layers"])
        ]
        self.embed = rand(vocabulary, self.width)
        self.head = self.embed if keys.get("tie_word_embeddings") or qwen3 else rand(vocabulary, self.width)
        self.norm = ones(self.width)
        frequencies = 1e6 ** (-torch.arange(0, self.dim, 2, device=device) / self.dim)
        angles = torch.outer(torch.arange(40_000, device=device).float(), frequencies)
        self.cos, self.sin = torch.cat([angles, angles], 1).cos().to(dtype), torch.cat([angles, angles], 1).sin().to(dtype)

    def cache(self, batch, length):
        shape = (len(self.layers), 2, batch, self.kv, length, self.dim)
        return torch.zeros(shape, device=self.embed.device, dtype=self.embed.dtype)

    def rotate(self, x, start):
        n, half = x.shape[2], self.dim // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[start:start + n] + turned * self.sin[start:start + n]

    def forward(self, ids, cache, past):
        x = F.embedding(ids, self.embed)
        batch, n, _ = x.shape
        q_rows, kv_rows = self.heads * self.dim, self.kv * self.dim
        for layer, (keys, values) in zip(self.layers, cache):
            h = F.rms_norm(x, (self.width,), layer["n1"], 1e-6)
            qkv = F.linear(h, layer["qkv"], None if self.qwen3 else layer["b"])
            q, k, v = qkv.split([q_rows, kv_rows, kv_rows], -1)
            split = lambda t, heads: t.view(batch, n, heads, self.dim)
            q, k, v = split(q, self.heads), split(k, self.kv), split(v, self.kv)
            if self.qwen3:
                q, k = F.rms_norm(q, (self.dim,), layer["qn"], 1e-6), F.rms_norm(k, (self.dim,), layer["kn"], 1e-6)
            q, k = self.rotate(q.transpose(1, 2), past), self.rotate(k.transpose(1, 2), past)
            keys[:, :, past:past + n], values[:, :, past:past + n] = k, v.transpose(1, 2)
            y = F.scaled_dot_product_attention(
                q, keys[:, :, :past + n], values[:, :, :past + n], is_causal=n > 1, enable_gqa=True)
            x = x + F.linear(y.transpose(1, 2).reshape(batch, n, q_rows), layer["o"])
            gate, up = F.linear(F.rms_norm(x, (self.width,), layer["n2"], 1e-6), layer["up"]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer["down"])
        return F.linear(F.rms_norm(x[:, -1], (self.width,), self.norm, 1e-6), self.head)


class SlowFast(nn.Module):
    """SlowFast-R50 up to its pooled motion feature, which VQAThinker reads beside the pictures; batch norms folded away."""

    def __init__(self, stems, device, dtype):
        super().__init__()
        conv = lambda i, o, k, s=(1, 1, 1): nn.Conv3d(i, o, k, s, [size // 2 for size in k], device=device, dtype=dtype)
        self.stems = nn.ModuleList([conv(3, stems[0], (1, 7, 7), (1, 2, 2)), conv(3, stems[1], (5, 7, 7), (1, 2, 2))])
        self.fusions = nn.ModuleList([conv(stems[1], 2 * stems[1], (7, 1, 1), (4, 1, 1))])
        self.stages, inputs = nn.ModuleList(), [stems[0] + 2 * stems[1], stems[1]]
        for stage, depth in enumerate((3, 4, 6, 3)):
            paths, outputs = nn.ModuleList(), [4 * stem << stage for stem in stems]
            for path, taps in enumerate((1 if stage < 2 else 3, 3)):
                blocks, inner = nn.ModuleList(), stems[path] << stage
                for i in range(depth):
                    x, stride = (inputs[path], 1 if stage == 0 else 2) if i == 0 else (outputs[path], 1)
                    block = nn.ModuleDict({
                        "a": conv(x, inner, (taps, 1, 1)), "b": conv(inner, inner, (1, 3, 3), (1, stride, stride)),
                        "c": conv(inner, outputs[path], (1, 1, 1))})
                    if i == 0:
                        block["shortcut"] = conv(x, outputs[path], (1, 1, 1), (1, stride, stride))
                    blocks.append(block)
                paths.append(blocks)
            self.stages.append(paths)
            if stage < 3:
                self.fusions.append(conv(outputs[1], 2 * outputs[1], (7, 1, 1), (4, 1, 1)))
            inputs = [outputs[0] + 2 * outputs[1], outputs[1]]

    @staticmethod
    def stage(blocks, x):
        for block in blocks:
            y = block["c"](block["b"](block["a"](x).relu()).relu())
            x = ((block["shortcut"](x) if "shortcut" in block else x) + y).relu()
        return x

    def forward(self, clip):
        """`clip` [1, 3, frames, side, side] to [1, slow + fast channels]."""
        index = torch.linspace(0, clip.shape[2] - 1, clip.shape[2] // 4, device=clip.device).long()
        pooled = lambda x: F.max_pool3d(x.relu(), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        slow, fast = pooled(self.stems[0](clip[:, :, index])), pooled(self.stems[1](clip))
        slow = torch.cat([slow, self.fusions[0](fast).relu()], 1)
        for stage, paths in enumerate(self.stages):
            slow, fast = self.stage(paths[0], slow), self.stage(paths[1], fast)
            if stage < 3:
                slow = torch.cat([slow, self.fusions[stage + 1](fast).relu()], 1)
        slow, fast = (x.repeat_interleave(4, 2) for x in (slow, fast))
        slow, fast = F.avg_pool3d(slow, (8, 7, 7), 1), F.avg_pool3d(fast, (32, 7, 7), 1)
        return torch.cat([slow.flatten(2).mean(2), fast.flatten(2).mean(2)], 1)


def transformers_model(family, config, device, dtype):
    """The same network in transformers, from random weights."""
    import transformers

    text, vision = dict(text_keys(config)), dict(config["vision_config"])
    for section in (text, vision):
        section.pop("vision_config", None)
    ids = {"image_token_id": 6, "video_token_id": 7}
    if family in ("internvl3", "vqathinker"):
        for key in ("image_size", "patch_size"):
            vision[key] = [vision[key]] * 2
        made = transformers.InternVLConfig(
            vision_config={"model_type": "internvl_vision", "attention_bias": True, **vision},
            text_config={"model_type": "qwen2", **text}, image_token_id=7)
    elif family == "llava-onevision":
        made = transformers.LlavaOnevisionConfig(
            vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **vision},
            text_config={"model_type": "qwen2", **text}, image_token_index=6, video_token_index=7)
    elif family == "qwen2.5-vl":
        scaling = {"type": "default", "rope_type": "default", "mrope_section": config["rope_scaling"]["mrope_section"]}
        made = transformers.Qwen2_5_VLConfig(
            vision_config=vision, text_config={**text, "rope_scaling": scaling}, **ids)
    else:
        scaling = {"rope_type": "default", **text["rope_scaling"]}
        made = transformers.Qwen3VLConfig(
            vision_config=vision, text_config={**text, "rope_scaling": scaling}, tie_word_embeddings=True, **ids)
    with torch.device(device):
        torch.set_default_dtype(dtype)
        model = transformers.AutoModelForImageTextToText.from_config(made, attn_implementation="sdpa").eval()
        torch.set_default_dtype(torch.float32)
    return model


def vision_call(family, model, run, device, dtype):
    """What makes the visual tokens of one video."""
    frames, side = run["frames"], run["config"]["vision_config"].get("image_size")
    if family in ("internvl3", "vqathinker"):
        if family == "vqathinker":
            side = 560 if run["scale"] == "full" else 224
        pixels = torch.randn(frames, 3, side, side, device=device, dtype=dtype)
        look = lambda: model.model.get_image_features(pixel_values=pixels)
        if family == "internvl3":
            return look
        motion = SlowFast((64, 8) if run["scale"] == "full" else (8, 1), device, dtype)
        clip = pixels.transpose(0, 1).unsqueeze(0).contiguous()
        return lambda: (look(), motion(clip))
    if family == "llava-onevision":
        pixels = torch.randn(1, frames, 3, side, side, device=device, dtype=dtype)
        return lambda: model.model.get_video_features(
            pixel_values=pixels, vision_feature_layer=-1, vision_feature_select_strategy="full")
    patch = run["config"]["vision_config"]["patch_size"]
    grid = torch.tensor([run["grid"]], device=device)
    rows = torch.randn(int(grid.prod()), 3 * 2 * patch * patch, device=device, dtype=dtype)
    return lambda: model.model.visual(rows, grid_thw=grid)


def timed(call, device, rounds):
    """Median wall time after one run to warm up, in seconds."""
    sync = torch.cuda.synchronize if device != "cpu" else lambda: None
    call()
    sync()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        sync()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def python_speeds(family, run, device, dtype, args):
    """Tokens a second by part, as (implementation, part)."""
    speeds, qwen3 = {}, family == "qwen3-vl"
    keys = text_keys(run["config"])
    plain = PlainDecoder(keys, qwen3, device, dtype)
    for written in run["decode"]:
        batch, context, steps = written["batch"], written["context"], args.new_tokens
        ids = torch.randint(10, 1000, (batch, context), device=device)

        def decode():
            cache = plain.cache(batch, context + steps + 1)
            token = plain(ids, cache, 0).argmax(-1, keepdim=True)
            token = plain(token, cache, context).argmax(-1, keepdim=True)
            if device != "cpu":
                torch.cuda.synchronize()
            start = time.perf_counter()
            for step in range(steps - 1):
                token = plain(token, cache, context + 1 + step).argmax(-1, keepdim=True)
            if device != "cpu":
                torch.cuda.synchronize()
            return batch * (steps - 1) / (time.perf_counter() - start)

        decode()
        speeds["plain", f"decode, batch {batch}"] = statistics.median(decode() for _ in range(args.rounds))
    del plain

    model = transformers_model(family, run["config"], device, dtype)
    look = vision_call(family, model, run, device, dtype)
    speeds["transformers", "vision"] = run["vision"]["tokens"] / timed(look, device, args.rounds)
    language, head = model.model.language_model, model.lm_head

    def read(batch, tokens):
        embeds = torch.randn(batch, tokens, keys["hidden_size"], device=device, dtype=dtype)
        out = language(inputs_embeds=embeds, use_cache=True)
        return head(out.last_hidden_state[:, -1:]), out.past_key_values

    def step(logits, cache):
        token = logits.argmax(-1)
        out = language(inputs_embeds=language.embed_tokens(token), past_key_values=cache, use_cache=True)
        return head(out.last_hidden_state), out.past_key_values

    tokens = run["prefill"]["tokens"]
    speeds["transformers", "prefill"] = tokens / timed(lambda: read(1, tokens), device, args.rounds)
    for written in run["decode"]:
        batch, steps = written["batch"], args.new_tokens

        def decode():
            state = step(*read(batch, written["context"]))
            if device != "cpu":
                torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(steps):
                state = step(*state)
            if device != "cpu":
                torch.cuda.synchronize()
            return batch * steps / (time.perf_counter() - start)

        decode()
        speeds["transformers", f"decode, batch {batch}"] = statistics.median(decode() for _ in range(args.rounds))
    if run.get("score"):
        clips = run["score"]["clips"]

        def score():
            for _ in range(clips):
                look()
            state = read(clips, tokens)
            for _ in range(args.new_tokens - 1):
                state = step(*state)

        speeds["transformers", f"score, {clips} clips"] = clips / timed(score, device, 1)
    return speeds


def juror_report(family, args):
    command = [args.juror, "bench", "--random-weights", "--model", family, "--scale", args.scale, "--device", args.device,
               "--batches", args.batches, "--new-tokens", str(args.new_tokens), "--context", str(args.context),
               "--clips", str(args.clips), "--rounds", str(args.rounds), "--format", "json", "--quiet"]
    if args.precision:
        command += ["--precision", args.precision]
    if args.frames:
        command += ["--frames", str(args.frames)]
    if args.threads:
        command += ["--threads", str(args.threads)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def juror_speeds(run):
    speeds = {"vision": run["vision"]["tokens_per_second"], "prefill": run["prefill"]["tokens_per_second"]}
    for written in run["decode"]:
        speeds[f"decode, batch {written['batch']}"] = written["tokens_per_second"]
    for written in run["rollouts"]:
        speeds[f"decode, {written['batch']} rollouts"] = written["tokens_per_second"]
    if run.get("score"):
        speeds[f"score, {run['score']['clips']} clips"] = run["score"]["clips_per_second"]
    return speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--juror", required=True, help="the program")
    parser.add_argument("--family", nargs="+", default=["internvl3", "vqathinker", "llava-onevision", "qwen2.5-vl", "qwen3-vl"])
    parser.add_argument("--scale", default="full", choices=["full", "tiny"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", help="default: f32 on the cpu, bf16 elsewhere")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--batches", default="1,4,16")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--clips", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=1, help="of both sides in turns")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    dtypes = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
    dtype = dtypes[args.precision or ("f32" if args.device == "cpu" else "bf16")]
    print(f"{args.scale} scale on {args.device}, {dtype}, PyTorch {torch.__version__}", end="")
    print(f", {torch.cuda.get_device_name()}" if args.device != "cpu" else f", {torch.get_num_threads()} threads")
    print("\n| network | part | juror | plain | transformers | juror / plain | juror / transformers |")
    print("|---|---|---|---|---|---|---|")
    for family in args.family:
        ours, theirs, memory = {}, {}, 0
        for _ in range(args.runs):
            report = juror_report(family, args)
            run = report["runs"][0]
            memory = report.get("gpu_memory_bytes") or report.get("peak_memory_bytes") or 0
            with torch.inference_mode():
                speeds = python_speeds(family, run, args.device, dtype, args)
            for part, speed in juror_speeds(run).items():
                ours[part] = max(speed, ours.get(part, 0))
            for key, speed in speeds.items():
                theirs[key] = max(speed, theirs.get(key, 0))
            if args.device != "cpu":
                torch.cuda.empty_cache()
        for part, speed in ours.items():
            # Nothing is shared there: rollouts are a batch of equal prompts.
            same = re.sub(r"(\d+) rollouts", r"batch \1", part)
            others = [theirs.get((name, same)) for name in ("plain", "transformers")]
            figures = [f"{other:.4g}" if other else "" for other in others]
            ratios = [f"{speed / other:.2f}" if other else "" for other in others]
            print(f"| {family} | {part} | {speed:.4g} | {' | '.join(figures)} | {' | '.join(ratios)} |", flush=True)
        print(f"| {family} | memory of juror | {memory / 2**30:.2f} GiB | | | | |", flush=True)


main()
