"""The llama architecture in PyTorch, over a plain dictionary of tensors named as in GGUF.

Rotary embedding turns the pairs (2i, 2i+1), as GGUF's `llama` wants it, so q and k need no
permutation on export. Matrices are [out, in], rows along the input, like GGUF's.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Config:
    vocabulary: int = 768
    hidden: int = 256
    feed_forward: int = 512
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    context: int = 512
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head(self):
        return self.hidden // self.heads


def shapes(c):
    yield "token_embd.weight", (c.vocabulary, c.hidden)
    for i in range(c.layers):
        yield f"blk.{i}.attn_norm.weight", (c.hidden,)
        yield f"blk.{i}.attn_q.weight", (c.heads * c.head, c.hidden)
        yield f"blk.{i}.attn_k.weight", (c.kv_heads * c.head, c.hidden)
        yield f"blk.{i}.attn_v.weight", (c.kv_heads * c.head, c.hidden)
        yield f"blk.{i}.attn_output.weight", (c.hidden, c.heads * c.head)
        yield f"blk.{i}.ffn_norm.weight", (c.hidden,)
        yield f"blk.{i}.ffn_gate.weight", (c.feed_forward, c.hidden)
        yield f"blk.{i}.ffn_up.weight", (c.feed_forward, c.hidden)
        yield f"blk.{i}.ffn_down.weight", (c.hidden, c.feed_forward)
    yield "output_norm.weight", (c.hidden,)
    yield "output.weight", (c.vocabulary, c.hidden)


def initial(c, seed, device):
    source = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(c):
        if len(shape) == 1:
            value = torch.ones(shape)
        else:
            spread = 1.0 if name == "token_embd.weight" else shape[1] ** -0.5
            if name.endswith(("attn_output.weight", "ffn_down.weight")):
                spread /= (2 * c.layers) ** 0.5
            value = torch.randn(shape, generator=source) * spread
        weights[name] = value.to(device)
    return weights


def rms_norm(x, weight, epsilon):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight


def rotate(x, cos, sin):
    """x: [batch, head, position, head size]; cos and sin: [position, head size / 2]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def forward(weights, c, tokens, activation=lambda x: x):
    """Logits [batch, position, vocabulary] of tokens [batch, position]. `activation` is applied to
    the input of every matrix product (used to imitate quantized activations)."""
    batch, length = tokens.shape
    x = weights["token_embd.weight"][tokens]
    turn = torch.arange(0, c.head, 2, device=x.device, dtype=x.dtype) / c.head
    angles = torch.arange(length, device=x.device, dtype=x.dtype)[:, None] * c.rope_base**-turn
    cos, sin = angles.cos(), angles.sin()

    def split(y, heads):
        return y.view(batch, length, heads, c.head).transpose(1, 2)

    for i in range(c.layers):
        def matrix(name, y):
            return F.linear(y, weights[f"blk.{i}.{name}.weight"])

        y = activation(rms_norm(x, weights[f"blk.{i}.attn_norm.weight"], c.epsilon))
        q = rotate(split(matrix("attn_q", y), c.heads), cos, sin)
        k = rotate(split(matrix("attn_k", y), c.kv_heads), cos, sin)
        v = split(matrix("attn_v", y), c.kv_heads)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = y.transpose(1, 2).reshape(batch, length, c.hidden)
        x = x + matrix("attn_output", activation(y))
        y = activation(rms_norm(x, weights[f"blk.{i}.ffn_norm.weight"], c.epsilon))
        y = F.silu(matrix("ffn_gate", y)) * matrix("ffn_up", y)
        x = x + matrix("ffn_down", activation(y))
    y = activation(rms_norm(x, weights["output_norm.weight"], c.epsilon))
    return F.linear(y, weights["output.weight"])
