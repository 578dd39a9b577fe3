"""Computing the shards of a cache: decoding, computing and writing at the same time."""
