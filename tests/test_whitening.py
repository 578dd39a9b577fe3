import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.sgd.whitening import FLOOR, whitening


@settings(max_examples=25, deadline=None)
@given(channels=st.integers(1, 8), dead=st.booleans(), seed=st.integers(0, 99))
def test_whitened_channels_are_uncorrelated_and_of_one_size(channels, dead, seed):
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((channels, channels))
    features = np.abs(mixing @ generator.standard_normal((channels, 5000))) + 3
    features[0] *= not dead  # a channel that is always zero stays so
    whole = np.cov(np.concatenate([generator.random((2, 5000)), features]), ddof=0)
    matrix = whitening(torch.from_numpy(whole), [slice(2, 2 + channels)]).double().numpy()
    found = np.cov(matrix @ features, ddof=0).reshape(channels, channels)
    variances = np.linalg.eigvalsh(np.cov(features, ddof=0).reshape(channels, channels))
    expected = np.minimum(variances / max(FLOOR * variances[-1], 1e-20), 1)
    np.testing.assert_allclose(found, np.diag(expected), atol=1e-3)
