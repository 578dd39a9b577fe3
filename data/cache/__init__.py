"""The feature cache on disk: what it is made from, how it is written, read and verified."""

from data.cache.reader import FeatureCache

__all__ = ["FeatureCache"]
