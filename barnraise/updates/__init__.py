"""Updates: the one format for a contribution going up and a patch coming down. numpy only.

Reading order: space.py (what is addressed), container.py (the file), header.py, codec.py, then
the codecs dense.py, blockwise.py and topk.py, below them support.py (draw.py, draw_tables.py, rans.py,
tables.py), grid.py and bits.py; fisher.py, which may come along; scope.py and part.py, factors.py,
mask.py, turn.py, for what does not travel as the change of every element; then add.py and apply.py.
Choosing what to send is in ``merge.compress``.
"""

from barnraise.updates.add import add_all_scaled, add_decoded, add_scaled, add_segments, decode_whole
from barnraise.updates.apply import apply_update
from barnraise.updates.carrier import asked_carrier
from barnraise.updates.codec import EncodedSegment, canonical_codec
from barnraise.updates.container import Update, write_update
from barnraise.updates.decode import decode_segment, sparse_segment
from barnraise.updates.header import Role
from barnraise.updates.mask import Mask
from barnraise.updates.part import Part
from barnraise.updates.scope import Carrier
from barnraise.updates.space import ParameterSpace, Piece, TensorSpec, model_digest
from barnraise.updates.turn import Turn

__all__ = [
    "Carrier",
    "EncodedSegment",
    "Mask",
    "ParameterSpace",
    "Part",
    "Piece",
    "Role",
    "TensorSpec",
    "Turn",
    "Update",
    "add_all_scaled",
    "add_decoded",
    "add_scaled",
    "add_segments",
    "apply_update",
    "asked_carrier",
    "canonical_codec",
    "decode_segment",
    "decode_whole",
    "model_digest",
    "sparse_segment",
    "write_update",
]
