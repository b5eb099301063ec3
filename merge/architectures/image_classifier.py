"""A small convolutional classifier of square pictures: blocks that halve the edge, then one linear map.

A block is a 3 x 3 convolution, a normalisation over the whole block (group normalisation with one
group, which needs no statistics of a batch and so has no state beside its parameters), a ReLU and
the mean of every 2 x 2 pixels. Initial weights come from NumPy's PCG64 by one multiply each, so a
seed names the same first release on every machine.

B  pictures in a batch
W  bytes of an example: the pixels row by row, channels of a pixel side by side, then the answer
C  answers

Source: He et al. 2015, https://arxiv.org/abs/1502.01852 (initial weights); Wu and He 2018,
https://arxiv.org/abs/1803.08494 (group normalisation).
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from barnraise.model_config import ImageClassifierConfig

__all__ = ["ImageClassifier", "ImageClassifierArchitecture"]


@dataclass(frozen=True, slots=True)
class ImageClassifierArchitecture:
    """Builds an :class:`ImageClassifier`."""

    name: ClassVar[str] = "image-classifier"
    model: ImageClassifierConfig

    def build(self) -> ImageClassifier:
        return ImageClassifier(self.model)

    def parameter_count(self) -> int:
        widths = _widths(self.model)
        convolutions = sum(9 * before * after + 3 * after for before, after in itertools.pairwise(widths))
        return convolutions + (_features(self.model) + 1) * self.model.classes

    def files(self) -> dict[str, bytes]:
        model = self.model
        stated = {
            "architecture": self.name,
            "answers": model.classes,
            "pixels": {"shape": [model.size, model.size, model.channels], "from": 0, "to": model.levels},
        }
        return {"config.json": json.dumps(stated, indent=1, sort_keys=True).encode("ascii") + b"\n"}

    def split(self, examples_BW: Tensor) -> tuple[Tensor, Tensor]:
        return examples_BW[:, :-1], examples_BW[:, -1].long()


class ImageClassifier(nn.Module):
    """The trunk.

    Attributes:
        config: architecture that it was built from.
    """

    def __init__(self, config: ImageClassifierConfig) -> None:
        super().__init__()
        self.config = config
        widths = _widths(config)
        self.blocks = nn.ModuleList(Block(before, after) for before, after in itertools.pairwise(widths))
        self.head = nn.Linear(_features(config), config.classes)
        self._initialise()

    def forward(self, pixels_BN: Tensor) -> Tensor:
        """Logits of the answers.

        Args:
            pixels_BN: [B, ..], of any type, from 0 to ``config.levels``; the pixels of a picture in any shape.

        Returns:
            float [B, C].
        """
        size, channels = self.config.size, self.config.channels
        picture = pixels_BN.to(self.head.weight.dtype).reshape(-1, size, size, channels).permute(0, 3, 1, 2)
        hidden = picture / self.config.levels
        for block in self.blocks:
            hidden = block(hidden)
        logits_BC: Tensor = self.head(hidden.flatten(1))
        return logits_BC

    @torch.no_grad()
    def _initialise(self) -> None:
        """Uniform, as wide as keeps a ReLU's signal; biases 0, gains 1. Drawn in the order of the modules above."""
        bits = np.random.default_rng(np.random.PCG64(self.config.init_seed))
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
                continue
            wide = math.sqrt(6.0 / math.prod(parameter.shape[1:]))  # of a variance of 2 / inputs
            uniform = bits.random(tuple(parameter.shape), dtype=np.float32) * np.float32(2) - np.float32(1)
            parameter.copy_(torch.from_numpy(uniform * np.float32(wide)))


class Block(nn.Module):
    """From a picture to one of half its edge."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, 3, padding=1)
        self.norm = nn.GroupNorm(1, after)

    def forward(self, hidden: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.convolution(hidden))
        return functional.avg_pool2d(functional.relu(normed), 2)


def _widths(config: ImageClassifierConfig) -> list[int]:
    """Channels before and after each block."""
    return [config.channels, *(config.width << block for block in range(config.blocks))]


def _features(config: ImageClassifierConfig) -> int:
    edge = config.size >> config.blocks
    return _widths(config)[-1] * edge * edge
