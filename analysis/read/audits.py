"""The exactness audits that runs carry from their caches: whether a border is left, by level."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.labels import model_label
from analysis.read.conditions import weights_label
from analysis.read.results import Results
from data.cache.identity import Identity
from data.cache.pooled.identity import PlacedIdentity
from data.exactness import describe_changes
from probe.results.placed_run import placed_identities


@dataclass(frozen=True)
class Audit:
    """Of the network of one run, at the size of its images."""

    run: str
    network: str
    padding: str
    changes: dict[str, float]  # level -> largest change of a pooled channel over five places
    uneven: tuple[str, ...]  # "module: rows, columns" of strided windows that leave cells out

    @property
    def verdict(self) -> str:
        """What the changes say."""
        return describe_changes(self.changes)


def read_audits(results: Results) -> list[Audit]:
    """The audit of every run that has one; caches of older versions and pixels have none."""
    caches: dict[str, Identity | PlacedIdentity] = {
        **{run: settings.cache for run, settings in results.runs.items()},
        **placed_identities(results.folder),
    }
    found = [_audit(run, cache) for run, cache in caches.items()]
    return [audit for audit in found if audit.changes]


def _audit(run: str, cache: Identity | PlacedIdentity) -> Audit:
    return Audit(
        run,
        weights_label(cache.weights, model_label(cache.backbone)),
        cache.padding,
        dict(cache.place_changes),
        tuple(
            f"{node}: {', '.join(map(str, cells))}" for node, cells in cache.uneven_strides.items()
        ),
    )
