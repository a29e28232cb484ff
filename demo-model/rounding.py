"""Imitations of quantized storage for training: values are rounded as GGML's types round them,
gradients pass straight through.

Q4_0: 32 weights share the scale d = (value of largest magnitude) / -8, codes 0..15 stand for
(code - 8) * d. Q8_0: d = (largest magnitude) / 127, codes -127..127. Scales are f16.
"""

import torch


def straight_through(original, rounded):
    return original + (rounded - original).detach()


def scale_or_one(d):
    """Blocks of zeros have scale zero; dividing by one instead keeps them zero."""
    d = d.half().to(d.dtype)
    return torch.where(d == 0, torch.ones_like(d), d)


def q4_0(x):
    blocks = x.detach().view(*x.shape[:-1], -1, 32)
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    d = scale_or_one(extreme / -8)
    codes = torch.clamp(torch.floor(blocks / d + 8.5), 0, 15)
    return straight_through(x, ((codes - 8) * d).view_as(x))


def q8_0(x):
    blocks = x.detach().reshape(*x.shape[:-1], -1, 32)
    d = scale_or_one(blocks.abs().amax(-1, keepdim=True) / 127)
    return straight_through(x, (torch.round(blocks / d) * d).view_as(x))


def matrices(weights, round_weight):
    """The same weights with every matrix (not the norms) rounded."""
    return {name: round_weight(w) if w.dim() == 2 else w for name, w in weights.items()}


def f16(x):
    return x.half().to(x.dtype)
