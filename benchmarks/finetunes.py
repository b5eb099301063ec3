"""Models that were really trained, and fine-tunes of them, for the question of how small a fine-tune can be stored.

    python benchmarks/finetunes.py FOLDER [--encoder DIR] [--quick]

Two families, each kept in FOLDER and made only once. ``byte-lm`` is the trunk's architecture with
22.5M parameters: trained on one half of the standard library's text, fine-tuned on the other.
``encoder`` exists where ``--encoder`` names a folder with a pretrained sentence encoder (a BERT in
safetensors, and its word list): fine-tuned to find the body of a function by its docstring.

A fine-tune is AdamW (weight decay 0.01) at a constant learning rate after a tenth of warm-up, in float32. Those
that are named ``bf16`` begin where the base in bfloat16 is, as whoever fine-tunes a published model does; the
others begin at the float32 base. All are saved as float32; rounding them is the reader's.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from barnraise.model_config import ByteLMConfig
from merge.architectures import build

BYTE_LM = ByteLMConfig(dim=512, layers=7, heads=8, hidden=1408, context=128)
QUICK_LM = ByteLMConfig(dim=128, layers=2, heads=4, hidden=320, context=128)
PRETRAIN_STEPS, PRETRAIN_RATE = 300, 1e-3
FORMATS = {"email", "json", "xml", "html", "http", "urllib", "argparse", "logging"}  # the other domain

State = dict[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """One fine-tune: at every number of ``steps`` the weights are saved."""

    rate: float
    steps: tuple[int, ...]
    from_bf16: bool = True

    def name(self, steps: int) -> str:
        return f"{'bf16' if self.from_bf16 else 'f32'}-lr{self.rate:.0e}-{steps}"


LM_RECIPES = (Recipe(2e-5, (50,)), Recipe(1e-4, (50,)), Recipe(2e-5, (50,), from_bf16=False))
RECIPES = (
    Recipe(2e-5, (50, 200)),
    Recipe(5e-6, (50, 200)),
    Recipe(1e-4, (50, 200)),
    Recipe(2e-5, (50, 200), from_bf16=False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    make_byte_lm(options.folder / "byte-lm", quick=options.quick)
    if options.encoder is not None:
        make_encoder(options.folder / "encoder", options.encoder)


def make_byte_lm(folder: Path, *, quick: bool = False) -> None:
    """Train and fine-tune the language model, as far as that was not done before."""
    torch.manual_seed(0)
    model = build(QUICK_LM if quick else BYTE_LM)
    first, other = split_text()

    def batches(text: Tensor, seed: int) -> Iterator[Callable[[nn.Module], Tensor]]:
        draws = torch.Generator().manual_seed(seed)
        while True:
            starts = torch.randint(len(text) - 129, (8,), generator=draws)
            windows = torch.stack([text[start : start + 129] for start in starts.tolist()])
            yield lambda module, windows=windows: module.loss(windows)

    if not (folder / "base.safetensors").exists():
        steps = 20 if quick else PRETRAIN_STEPS
        train(model, batches(first, 0), PRETRAIN_RATE, (steps,), lambda _, state: save(folder / "base", state))
    recipes = [Recipe(2e-5, (5, 10)), Recipe(2e-5, (10,), from_bf16=False)] if quick else LM_RECIPES
    fine_tune(model, folder, recipes, lambda: batches(other, 1))


def make_encoder(folder: Path, source: Path) -> None:
    """Fine-tune the encoder whose weights, configuration and word list are in ``source``."""
    torch.manual_seed(0)
    weights = {
        name: tensor for name, tensor in load_file(source / "model.safetensors").items() if tensor.is_floating_point()
    }
    model = Encoder(json.loads((source / "config.json").read_text()))
    model.load_state_dict({flat_name(name): tensor.float() for name, tensor in weights.items()})
    if not (folder / "base.safetensors").exists():
        save(folder / "base", model.state_dict())
    words = {word: at for at, word in enumerate((source / "vocab.txt").read_text().splitlines())}
    pairs = [(tokens(doc, words, 48), tokens(body, words, 64)) for doc, body in documented_functions()]

    def batches() -> Iterator[Callable[[nn.Module], Tensor]]:
        draws = random.Random(1)
        while True:
            chosen = draws.sample(pairs, 16)
            yield lambda module, chosen=chosen: contrast(module, chosen)

    fine_tune(model, folder, RECIPES, batches)


def fine_tune(
    model: nn.Module, folder: Path, recipes: tuple[Recipe, ...] | list[Recipe], batches: Callable[[], Iterator]
) -> None:
    base = load_file(folder / "base.safetensors")
    for recipe in recipes:
        if all((folder / f"{recipe.name(steps)}.safetensors").exists() for steps in recipe.steps):
            continue
        start = {name: tensor.bfloat16().float() if recipe.from_bf16 else tensor for name, tensor in base.items()}
        model.load_state_dict({name: start[name.replace("/", ".")] for name in model.state_dict()})

        def keep(steps: int, state: State, recipe: Recipe = recipe) -> None:
            save(folder / recipe.name(steps), state)

        train(model, batches(), recipe.rate, recipe.steps, keep, decay=0.01)


def train(
    model: nn.Module,
    batches: Iterator[Callable[[nn.Module], Tensor]],
    rate: float,
    steps: tuple[int, ...],
    keep: Callable[[int, State], None],
    decay: float = 0.1,
) -> None:
    """AdamW with a warm-up of a tenth; ``keep`` is called at each of ``steps``."""
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=rate, betas=(0.9, 0.999 if decay < 0.1 else 0.95), weight_decay=decay
    )
    began = time.monotonic()
    for step in range(1, max(steps) + 1):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, step / (max(steps) / 10))
        loss = next(batches)(model)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 20 == 0:
            print(f"step {step}: loss {loss.item():.3f}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if step in steps:
            keep(step, model.state_dict())


def save(path: Path, state: State) -> None:
    """A safetensors file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / "model.safetensors"
        save_file({name.replace("/", "."): tensor.contiguous() for name, tensor in state.items()}, made)
        made.replace(path.with_suffix(".safetensors"))


def sources() -> list[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(path for path in root.rglob("*.py") if not {"test", "tests", "site-packages"} & set(path.parts))


def split_text() -> tuple[Tensor, Tensor]:
    """The standard library as bytes, uint8 [N]: most of it, and the modules of formats and protocols."""
    root = Path(sysconfig.get_path("stdlib"))
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for path in sources():
        parts[path.relative_to(root).parts[0].removesuffix(".py") in FORMATS].append(path.read_bytes())
    first, other = (torch.frombuffer(bytearray(b"".join(part)), dtype=torch.uint8) for part in parts)
    return first, other


def documented_functions() -> list[tuple[str, str]]:
    """(docstring, name and body) of functions of the standard library."""
    found = []
    for path in sources():
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (doc := ast.get_docstring(node)) and len(node.body) > 1:
                found.append((doc, f"{node.name} " + "\n".join(ast.unparse(part) for part in node.body[1:])))
    return found


def tokens(text: str, words: dict[str, int], most: int) -> list[int]:
    """WordPiece: the longest known beginning, again and again. Source: https://arxiv.org/abs/1609.08144."""
    found = [words["[CLS]"]]
    spaced = "".join(letter if letter.isalnum() else f" {letter} " for letter in text[:2000].lower())
    for word in spaced.split():
        start = 0
        while start < len(word) and len(found) < most:
            for end in range(len(word), start, -1):
                piece = words.get(("##" if start else "") + word[start:end])
                if piece is not None:
                    break
            else:
                piece, end = words["[UNK]"], len(word)
            found.append(piece)
            start = end
    return [*found[: most - 1], words["[SEP]"]]


def contrast(model: nn.Module, pairs: list[tuple[list[int], list[int]]]) -> Tensor:
    """InfoNCE in both directions with temperature 0.05. Source: https://arxiv.org/abs/1807.03748."""
    docs, bodies = (model([pair[side] for pair in pairs]) for side in (0, 1))
    scores = 20.0 * docs @ bodies.T
    target = torch.arange(len(pairs))
    return (functional.cross_entropy(scores, target) + functional.cross_entropy(scores.T, target)) / 2


def flat_name(name: str) -> str:
    return name.replace(".", "/")


class Encoder(nn.Module):
    """BERT with mean pooling, parameters under the names that its file has. Source: https://arxiv.org/abs/1810.04805."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        width, inner = config["hidden_size"], config["intermediate_size"]
        for name, rows in (
            ("word", config["vocab_size"]),
            ("position", config["max_position_embeddings"]),
            ("token_type", 2),
        ):
            self._add(f"embeddings.{name}_embeddings.weight", rows, width)
        self._add_norm("embeddings.LayerNorm", width)
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}"
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                self._add_linear(f"{at}.attention.{part}", width, width)
            self._add_linear(f"{at}.intermediate.dense", inner, width)
            self._add_linear(f"{at}.output.dense", width, inner)
            self._add_norm(f"{at}.attention.output.LayerNorm", width)
            self._add_norm(f"{at}.output.LayerNorm", width)
        self._add_linear("pooler.dense", width, width)

    def _add(self, name: str, *shape: int) -> None:
        self.register_parameter(flat_name(name), nn.Parameter(torch.zeros(shape)))

    def _add_linear(self, name: str, rows: int, columns: int) -> None:
        self._add(f"{name}.weight", rows, columns)
        self._add(f"{name}.bias", rows)

    def _add_norm(self, name: str, width: int) -> None:
        self._add(f"{name}.weight", width)
        self._add(f"{name}.bias", width)

    def _at(self, name: str) -> Tensor:
        return self.get_parameter(flat_name(name))

    def _linear(self, name: str, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self._at(f"{name}.weight"), self._at(f"{name}.bias"))

    def _norm(self, name: str, hidden: Tensor) -> Tensor:
        return functional.layer_norm(
            hidden, hidden.shape[-1:], self._at(f"{name}.weight"), self._at(f"{name}.bias"), eps=1e-12
        )

    def forward(self, texts: list[list[int]]) -> Tensor:
        """Unit vectors [B, D] of token lists."""
        length = max(map(len, texts))
        ids = torch.tensor([text + [0] * (length - len(text)) for text in texts])
        mask = torch.tensor([[1.0] * len(text) + [0.0] * (length - len(text)) for text in texts])
        hidden = functional.embedding(ids, self._at("embeddings.word_embeddings.weight"))
        hidden = hidden + self._at("embeddings.position_embeddings.weight")[:length]
        hidden = self._norm("embeddings.LayerNorm", hidden + self._at("embeddings.token_type_embeddings.weight")[0])
        shut_out = (mask - 1.0)[:, None, None, :] * 1e9
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}"
            parts = (self._linear(f"{at}.attention.self.{part}", hidden) for part in ("query", "key", "value"))
            query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
            seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=shut_out)
            seen = self._linear(f"{at}.attention.output.dense", seen.transpose(1, 2).flatten(2))
            hidden = self._norm(f"{at}.attention.output.LayerNorm", hidden + seen)
            inner = functional.gelu(self._linear(f"{at}.intermediate.dense", hidden))
            hidden = self._norm(f"{at}.output.LayerNorm", hidden + self._linear(f"{at}.output.dense", inner))
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return functional.normalize(pooled, dim=-1)


if __name__ == "__main__":
    main()
