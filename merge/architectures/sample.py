"""Let a byte model write on: one byte at a time from its own prediction."""

from __future__ import annotations

import torch

from merge.architectures.byte_lm import ByteLM

__all__ = ["generate"]


@torch.no_grad()
def generate(module: ByteLM, prompt: bytes, length: int, seed: int, temperature: float) -> bytes:
    """``length`` bytes that follow ``prompt``; the same seed writes the same text on one machine.

    Args:
        module: any device; its mode is kept.
        prompt: what comes before; empty starts after a newline.
        length: bytes to write.
        seed: of the draws.
        temperature: 0 takes the likeliest byte, 1 the model's own distribution.

    Returns:
        the new bytes only.
    """
    device = next(module.parameters()).device
    draws = torch.Generator().manual_seed(seed)
    text = bytearray(prompt or b"\n")
    for _ in range(length):
        window = torch.tensor([list(text[-module.config.context :])], device=device)
        logits_V = module(window)[0, -1].float().cpu()
        if temperature <= 0:
            text.append(int(logits_V.argmax()))
        else:
            chances_V = torch.softmax(logits_V / temperature, dim=-1)
            text.append(int(torch.multinomial(chances_V, 1, generator=draws)))
    return bytes(text[-length:]) if length else b""
