"""Derived models: fine-tunes and other children of the trunk, kept as lossless differences from their parents.

manifest  what one is, and how each of its tensors is stored
version   which number an import gets
names     derived models in a run's index
known     tensors that are there already, by what they are
rounding  a parent's tensor in its child's type
storing   a model's tensors into blobs
imports   a model into blobs and a manifest
family    tensors of any model of a run, read through their chains
page      the card
"""

__all__: list[str] = []
