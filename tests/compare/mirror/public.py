"""Small random configurations of the public `transformers` library: nobody here wrote these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from tests.compare.mirror.example import Example

Inputs = Callable[[], dict[str, Any]]
TEXT = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
LONG = {**TEXT, "intermediate_size": 24, "max_position_embeddings": 16}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GATED = {**LONG, **SPECIAL, "num_key_value_heads": 1, "head_dim": 8}
GATED4 = {**GATED, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
HALVES = {"embed_dim": 16, "num_heads": 2}
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}
SIDES = {
    f"{side}_{what}": number
    for side in ("encoder", "decoder")
    for what, number in {"layers": 2, "attention_heads": 2, "ffn_dim": 24}.items()
}


class Public(NamedTuple):
    """One architecture: its classes' names, the settings, the inputs."""

    config: str
    model: str
    settings: dict[str, Any]
    inputs: Inputs

    def example(self, training: bool) -> Example:
        """Build it with random weights, in one mode; attention as plain torch operations."""
        import transformers

        config = getattr(transformers, self.config)(**self.settings)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = getattr(transformers, self.model)._from_config(config, **EAGER)
            return Example(model.train(training), (), self.inputs())


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(3, 32, shape)


def causal() -> dict[str, Any]:
    words, mask = ids(2, 6), torch.ones(2, 6, dtype=torch.long)
    mask[1, :2] = 0
    return {
        "input_ids": words, "attention_mask": mask, "labels": words.masked_fill(mask == 0, -100),
        "use_cache": False,
    }  # fmt: skip


def scanned() -> dict[str, Any]:
    words = ids(2, 5)
    return {"input_ids": words, "labels": words, "use_cache": False}


def classified() -> dict[str, Any]:
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    return {"input_ids": ids(2, 6), "attention_mask": mask, "labels": torch.tensor([0, 1])}


def masked() -> dict[str, Any]:
    words = ids(2, 6)
    return {"input_ids": words, "labels": words}


def translated() -> dict[str, Any]:
    return {"input_ids": ids(2, 6), "labels": ids(2, 5), "use_cache": False}


def image(size: int = 16, count: int = 2) -> Inputs:
    def inputs() -> dict[str, Any]:
        return {
            "pixel_values": torch.randn(count, 3, size, size),
            "labels": torch.arange(count) % 2,
        }

    return inputs


def pair() -> dict[str, Any]:
    return {
        "input_ids": ids(2, 6), "pixel_values": torch.randn(2, 3, 8, 8), "return_loss": True,
    }  # fmt: skip


def segmented() -> dict[str, Any]:
    return {"pixel_values": torch.randn(2, 3, 32, 32), "labels": torch.randint(2, (2, 32, 32))}


def heard() -> dict[str, Any]:
    return {"input_features": torch.randn(2, 8, 12), "labels": ids(2, 4), "use_cache": False}


def spoken() -> dict[str, Any]:
    return {"input_values": torch.randn(2, 120), "labels": torch.tensor([0, 1])}


PATCHES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "image_size": 16, "patch_size": 4,
}  # fmt: skip
VISION = {**PATCHES, "image_size": 8, "projection_dim": 8}

TABLE: dict[str, Public] = {
    "gpt2": Public(
        "GPT2Config", "GPT2LMHeadModel",
        {"vocab_size": 32, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2, **SPECIAL},
        causal,
    ),
    "llama": Public("LlamaConfig", "LlamaForCausalLM", GATED4, causal),
    "mistral": Public(
        "MistralConfig", "MistralForCausalLM", {**GATED4, "sliding_window": 3},
        causal,
    ),
    "qwen2": Public("Qwen2Config", "Qwen2ForCausalLM", GATED4, causal),
    "qwen3": Public("Qwen3Config", "Qwen3ForCausalLM", GATED4, causal),
    "gemma": Public("GemmaConfig", "GemmaForCausalLM", GATED, causal),
    "gemma2": Public("Gemma2Config", "Gemma2ForCausalLM", {**GATED, "sliding_window": 3}, causal),
    "gpt-neox": Public("GPTNeoXConfig", "GPTNeoXForCausalLM", {**LONG, **SPECIAL}, causal),
    "phi": Public("PhiConfig", "PhiForCausalLM", {**LONG, **SPECIAL}, causal),
    "opt": Public(
        "OPTConfig", "OPTForCausalLM",
        {**TEXT, **SPECIAL, "ffn_dim": 24, "max_position_embeddings": 16,
         "word_embed_proj_dim": 16},
        causal,
    ),
    "bloom": Public(
        "BloomConfig", "BloomForCausalLM",
        {"vocab_size": 32, "hidden_size": 16, "n_layer": 2, "n_head": 2, **SPECIAL}, causal,
    ),
    "mixtral": Public(
        "MixtralConfig", "MixtralForCausalLM",
        {**GATED4, "num_local_experts": 3, "num_experts_per_tok": 2}, causal,
    ),
    "mamba": Public(
        "MambaConfig", "MambaForCausalLM",
        {"vocab_size": 32, "hidden_size": 8, "state_size": 3, "num_hidden_layers": 2,
         "time_step_rank": 2, "conv_kernel": 3, **SPECIAL}, scanned,
    ),
    "bert": Public("BertConfig", "BertForSequenceClassification", LONG, classified),
    "roberta": Public(
        "RobertaConfig", "RobertaForSequenceClassification", {**LONG, **SPECIAL}, classified
    ),
    "distilbert": Public(
        "DistilBertConfig", "DistilBertForSequenceClassification",
        {"vocab_size": 32, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24,
         "max_position_embeddings": 16}, classified,
    ),
    "albert": Public(
        "AlbertConfig", "AlbertForMaskedLM", {**LONG, **SPECIAL, "embedding_size": 8}, masked
    ),
    "electra": Public(
        "ElectraConfig", "ElectraForSequenceClassification", {**LONG, "embedding_size": 8},
        classified,
    ),
    "deberta-v2": Public(
        "DebertaV2Config", "DebertaV2ForSequenceClassification",
        {**LONG, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 4,
         "share_att_key": True, "norm_rel_ebd": "layer_norm", "type_vocab_size": 0},
        classified,
    ),
    "t5": Public(
        "T5Config", "T5ForConditionalGeneration",
        {"vocab_size": 32, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2,
         "relative_attention_num_buckets": 8, "decoder_start_token_id": 0}, translated,
    ),
    "bart": Public(
        "BartConfig", "BartForConditionalGeneration",
        {**SIDES, **SPECIAL, "vocab_size": 32, "d_model": 16, "max_position_embeddings": 16,
         "decoder_start_token_id": 2, "forced_eos_token_id": 2}, translated,
    ),
    "vit": Public("ViTConfig", "ViTForImageClassification", PATCHES, image()),
    "deit": Public("DeiTConfig", "DeiTForImageClassification", PATCHES, image()),
    "convnext": Public(
        "ConvNextConfig", "ConvNextForImageClassification",
        {"hidden_sizes": [4, 8], "depths": [1, 1], "num_stages": 2, "patch_size": 4,
         "drop_path_rate": 0.2}, image(),
    ),
    "resnet": Public(
        "ResNetConfig", "ResNetForImageClassification",
        {"embedding_size": 4, "hidden_sizes": [8, 8], "depths": [1, 1], "layer_type": "basic"},
        image(),
    ),
    "mobilenet-v2": Public(
        "MobileNetV2Config", "MobileNetV2ForImageClassification",
        {"depth_multiplier": 0.05, "depth_divisible_by": 2, "min_depth": 2, "image_size": 16,
         "finegrained_output": False}, image(),
    ),
    "swin": Public(
        "SwinConfig", "SwinForImageClassification",
        {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [2, 1], "num_heads": [2, 2],
         "window_size": 2}, image(),
    ),
    "segformer": Public(
        "SegformerConfig", "SegformerForSemanticSegmentation",
        {"num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 16],
         "patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2],
         "mlp_ratios": [2, 2], "decoder_hidden_size": 8}, segmented,
    ),
    "clip": Public(
        "CLIPConfig", "CLIPModel",
        {"text_config": {**LONG, **SPECIAL, "projection_dim": 8}, "vision_config": VISION,
         "projection_dim": 8}, pair,
    ),
    "whisper": Public(
        "WhisperConfig", "WhisperForConditionalGeneration",
        {**SIDES, **SPECIAL, "vocab_size": 32, "d_model": 16, "num_mel_bins": 8,
         "max_source_positions": 6, "max_target_positions": 8, "decoder_start_token_id": 2,
         "begin_suppress_tokens": None}, heard,
    ),
    "wav2vec2": Public(
        "Wav2Vec2Config", "Wav2Vec2ForSequenceClassification",
        {**TEXT, "intermediate_size": 24, "conv_dim": [8, 8], "conv_kernel": [6, 3],
         "conv_stride": [4, 2], "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
         "classifier_proj_size": 8, "apply_spec_augment": False}, spoken,
    ),
}  # fmt: skip
