#!/usr/bin/env python3
"""Prints the names and shapes of a published checkpoint's tensors, as transformers builds the network: no weights are made.

    python scripts/full-size-names.py internvl3-8b > crates/juror-lmm/tests/golden/full_size/internvl3-8b.txt
    python scripts/full-size-names.py qwen3-vl-4b > crates/juror-lmm/tests/golden/full_size/qwen3-vl-4b.txt

The sizes are those of the published config.json files (OpenGVLab/InternVL3-8B-hf, Qwen/Qwen3-VL-4B-Instruct). Names are those of the
files, not of the classes' attributes; tensors of layers with one shape share a line, `{0..28}` in place of the layer's number.
Wants torch and transformers 4.57 (the virtual environment of scripts/bench-published.sh has them).
"""

import re
import sys

import torch
import transformers


def internvl3_8b():
    config = transformers.InternVLConfig(
        vision_config={
            "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
            "image_size": [448, 448], "patch_size": [14, 14], "attention_bias": True, "use_qk_norm": False,
            "norm_type": "layer_norm", "use_mean_pooling": True, "layer_norm_eps": 1e-6},
        text_config={
            "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
            "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 151_674, "tie_word_embeddings": False})
    # As transformers writes it (`_checkpoint_conversion_mapping`, backwards).
    renames = [(r"^model\.language_model", "language_model.model"), (r"^model\.", ""), (r"^lm_head", "language_model.lm_head")]
    return transformers.InternVLForConditionalGeneration, config, renames


def qwen3_vl_4b():
    config = transformers.Qwen3VLConfig(
        vision_config={
            "depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "patch_size": 16,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 2560,
            "num_position_embeddings": 2304, "deepstack_visual_indexes": [5, 11, 17]},
        text_config={
            "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True,
            "rope_scaling": {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [24, 20, 20]}},
        tie_word_embeddings=True)
    return transformers.Qwen3VLForConditionalGeneration, config, []


def main():
    models = {"internvl3-8b": internvl3_8b, "qwen3-vl-4b": qwen3_vl_4b}
    if sys.argv[1:2] not in [[name] for name in models]:
        sys.exit(__doc__)
    model_class, config, renames = models[sys.argv[1]]()
    with torch.device("meta"):
        model = model_class(config)
    lines = {}
    for name, tensor in model.state_dict().items():
        if config.get_text_config().tie_word_embeddings and name == "lm_head.weight":
            continue  # the embedding table; not in the files
        for old, new in renames:
            name = re.sub(old, new, name)
        shape = " ".join(map(str, tensor.shape))
        match = re.fullmatch(r"(.*?\.)(\d+)(\..*)", name)
        if match and match[1].endswith(("layers.", "layer.", "blocks.", "list.")):
            lines.setdefault((match[1], match[3], shape), []).append(int(match[2]))
        else:
            lines[name, "", shape] = None
    for (before, after, shape), numbers in lines.items():
        if numbers is None:
            print(before, shape)
        else:
            assert numbers == list(range(len(numbers))), (before, after, numbers)
            print(f"{before}{{0..{len(numbers)}}}{after} {shape}")


main()
