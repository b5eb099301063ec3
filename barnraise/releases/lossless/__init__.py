"""Tensors in fewer bytes, bit for bit: alone, or as the difference from the same tensor of a parent."""

from barnraise.releases.lossless.coding import decode, decode_into, encode, encoded

__all__ = ["decode", "decode_into", "encode", "encoded"]
