"""The files a cache is made of, beside its shards: their names, contents, sums and locks."""
