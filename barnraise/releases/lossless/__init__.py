"""Tensors in fewer bytes, bit for bit: alone, or as the difference from the same tensor of a parent."""

from barnraise.releases.lossless.coding import BLOCK, decode, decode_into, decoded, encode, encoded

__all__ = ["BLOCK", "decode", "decode_into", "decoded", "encode", "encoded"]
