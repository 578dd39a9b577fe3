from __future__ import annotations

import hashlib

import numpy as np

from data.samples import sample_image


def test_sample_is_the_same_everywhere() -> None:
    image = sample_image(0, 0)
    assert image.shape == (224, 224, 3)
    assert image.dtype == np.uint8
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    assert digest.startswith("4ba695124fcbab5c")
