"""A small decoder-only transformer over bytes: pre-norm RMSNorm, RoPE, SwiGLU, tied embedding.

The vocabulary is the 256 bytes, so there is no tokeniser to agree on and a loss divides
into bits per byte without a table. Initial weights come from NumPy's PCG64 by one multiply
each, so a seed names the same first release on every machine.

It is what the ecosystem calls a Phi-3 decoder, computed in the same way: query, key and value
in one matrix, gate and up in one. So its parameters carry the names that transformers gives
them, and a released folder loads there as it is (:mod:`merge.architectures.ecosystem`).

B  windows in a batch
T  positions in a window
V  vocabulary, 256
D  width of the residual stream
H  attention heads
F  width of one attention head, D / H

Source: RMSNorm https://arxiv.org/abs/1910.07467, RoPE https://arxiv.org/abs/2104.09864,
SwiGLU https://arxiv.org/abs/2002.05202, Phi-3 https://arxiv.org/abs/2404.14219.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from barnraise.model_config import ByteLMConfig

__all__ = ["NORM_EPS", "ROPE_BASE", "VOCABULARY", "ByteLM", "ByteLMArchitecture"]

VOCABULARY = 256
INIT_STD = 0.02
ROPE_BASE = 10_000.0
NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class ByteLMArchitecture:
    """Builds a :class:`ByteLM`."""

    name: ClassVar[str] = "byte-lm"
    model: ByteLMConfig

    def build(self) -> ByteLM:
        return ByteLM(self.model)

    def parameter_count(self) -> int:
        dim = self.model.dim
        attention, feed_forward, norms = 4 * dim * dim, 3 * dim * self.model.hidden, 2 * dim
        return VOCABULARY * dim + self.model.layers * (attention + feed_forward + norms) + dim

    def files(self) -> dict[str, bytes]:
        from merge.architectures.ecosystem import ecosystem_files

        return ecosystem_files(self.model)


class ByteLM(nn.Module):
    """The trunk. Only its parameters are state: the rotary tables are recomputed.

    Attributes:
        config: architecture that it was built from.
        model: everything but the way back from the stream to bytes, which is the embedding again.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: ByteLMConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        cosine_TF, sine_TF = rotary_tables(config.context, config.dim // config.heads)
        self.register_buffer("cosine", cosine_TF, persistent=False)
        self.register_buffer("sine", sine_TF, persistent=False)
        self._initialise()

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits of the next byte.

        Args:
            tokens_BT: int64 [B, T], bytes; T is at most ``config.context``.

        Returns:
            float [B, T, 256].
        """
        length = tokens_BT.shape[1]
        assert length <= self.config.context, (length, self.config.context)
        hidden_BTD = self.model(tokens_BT, self.cosine[:length], self.sine[:length])
        return functional.linear(hidden_BTD, self.model.embed_tokens.weight)

    def loss(self, windows_BT1: Tensor) -> Tensor:
        """Mean cross-entropy of every byte given those before it.

        Args:
            windows_BT1: integer [B, T + 1]; the first T bytes predict the last T.

        Returns:
            scalar in nats; divide by ``ln 2`` for bits per byte.
        """
        windows_BT1 = windows_BT1.long()
        logits_BTV = self(windows_BT1[:, :-1])
        return functional.cross_entropy(logits_BTV.float().flatten(0, 1), windows_BT1[:, 1:].flatten())

    @torch.no_grad()
    def _initialise(self) -> None:
        """Uniform with standard deviation ``INIT_STD``; what writes into the stream is scaled down by depth.

        Drawn in the order in which the modules below are made, which must therefore stay as it is.
        """
        bits = np.random.default_rng(np.random.PCG64(self.config.init_seed))
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:  # a norm's gain
                parameter.fill_(1.0)
                continue
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = INIT_STD / math.sqrt(2 * self.config.layers) if writes else INIT_STD
            uniform = bits.random(tuple(parameter.shape), dtype=np.float32) - np.float32(0.5)
            parameter.copy_(torch.from_numpy(uniform * np.float32(std * math.sqrt(12.0))))


class Trunk(nn.Module):
    """From bytes to the normalised residual stream."""

    def __init__(self, config: ByteLMConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.embed_tokens = nn.Embedding(VOCABULARY, config.dim)
        self.norm = nn.RMSNorm(config.dim, eps=NORM_EPS)

    def forward(self, tokens_BT: Tensor, cosine_TF: Tensor, sine_TF: Tensor) -> Tensor:
        hidden_BTD = self.embed_tokens(tokens_BT)
        for layer in self.layers:
            hidden_BTD = layer(hidden_BTD, cosine_TF, sine_TF)
        normed_BTD: Tensor = self.norm(hidden_BTD)
        return normed_BTD


class Layer(nn.Module):
    """Attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: ByteLMConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.dim, eps=NORM_EPS)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.dim, eps=NORM_EPS)
        self.mlp = SwiGLU(config)

    def forward(self, hidden_BTD: Tensor, cosine_TF: Tensor, sine_TF: Tensor) -> Tensor:
        hidden_BTD = hidden_BTD + self.self_attn(self.input_layernorm(hidden_BTD), cosine_TF, sine_TF)
        mixed_BTD: Tensor = hidden_BTD + self.mlp(self.post_attention_layernorm(hidden_BTD))
        return mixed_BTD


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, config: ByteLMConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.o_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.qkv_proj = nn.Linear(config.dim, 3 * config.dim, bias=False)

    def forward(self, hidden_BTD: Tensor, cosine_TF: Tensor, sine_TF: Tensor) -> Tensor:
        split = self.qkv_proj(hidden_BTD).unflatten(-1, (3, self.heads, -1))  # [B, T, 3, H, F]
        query_BHTF, key_BHTF, value_BHTF = split.permute(2, 0, 3, 1, 4)
        attended_BHTF = functional.scaled_dot_product_attention(
            rotate(query_BHTF, cosine_TF, sine_TF), rotate(key_BHTF, cosine_TF, sine_TF), value_BHTF, is_causal=True
        )
        out_BTD: Tensor = self.o_proj(attended_BHTF.transpose(1, 2).flatten(2))
        return out_BTD


class SwiGLU(nn.Module):
    """Feed-forward block with a gate: ``down(silu(gate(x)) * up(x))``."""

    def __init__(self, config: ByteLMConfig) -> None:
        super().__init__()
        self.down_proj = nn.Linear(config.hidden, config.dim, bias=False)
        self.gate_up_proj = nn.Linear(config.dim, 2 * config.hidden, bias=False)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(hidden_BTD).chunk(2, dim=-1)
        down_BTD: Tensor = self.down_proj(functional.silu(gate) * up)
        return down_BTD


def rotary_tables(positions: int, width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, each float32 [T, F] with F = ``width`` (even)."""
    frequencies = ROPE_BASE ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles_TF = torch.outer(torch.arange(positions, dtype=torch.float64), frequencies).repeat(1, 2)
    return angles_TF.cos().float(), angles_TF.sin().float()


def rotate(heads_BHTF: Tensor, cosine_TF: Tensor, sine_TF: Tensor) -> Tensor:
    """Turn each pair (i, i + F/2) of a head by its position's angle; keeps shape and dtype."""
    first, second = heads_BHTF.chunk(2, dim=-1)
    turned_BHTF = torch.cat((-second, first), dim=-1)
    return (heads_BHTF * cosine_TF + turned_BHTF * sine_TF).to(heads_BHTF.dtype)
