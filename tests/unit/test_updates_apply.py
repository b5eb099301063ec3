"""Base plus update."""

import numpy as np
import pytest

from barnraise.errors import NonFiniteUpdateError
from barnraise.update_config import CodecConfig
from barnraise.updates import Update, apply_update
from update_samples import BASE, CODECS, SHORT_CHUNKS, SMALL, SPACES, codec_id, make_file, random_change


@pytest.mark.parametrize("codec", CODECS, ids=codec_id)
@pytest.mark.parametrize("space", SPACES, ids=["small", "short-chunks"])
def test_it_is_bit_for_bit_one_float32_addition_an_element(codec, space):
    base = random_change(space, seed=1, scale=1.0)
    base[::7] = -0.0
    update = Update.parse(make_file(space, codec, random_change(space)), space, base_digest=BASE)
    change = np.concatenate([update.decode(index) for index in range(space.segment_count)])
    assert apply_update(base, update).tobytes() == (base + change).tobytes()


def test_it_writes_where_it_is_told_even_in_place():
    base = random_change(SMALL, seed=1)
    update = Update.parse(make_file(SMALL, CODECS[0], random_change(SMALL)), SMALL, base_digest=BASE)
    expected = apply_update(base, update)
    assert apply_update(base, update, out=base) is base
    assert base.tobytes() == expected.tobytes()


@pytest.mark.parametrize("codec", [CodecConfig(name="dense"), CodecConfig(name="topk", k=2048)], ids=codec_id)
def test_a_sum_that_is_not_finite_is_refused(codec):
    huge = np.full(SHORT_CHUNKS.size, 3e38, dtype=np.float32)
    update = Update.parse(make_file(SHORT_CHUNKS, codec, huge), SHORT_CHUNKS, base_digest=BASE)
    with pytest.raises(NonFiniteUpdateError, match="not finite in segment 0"):
        apply_update(huge, update)
