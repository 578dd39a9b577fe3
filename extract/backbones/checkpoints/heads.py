"""Classifiers, which features never reach."""

from __future__ import annotations

from torch import nn

# Classifiers and auxiliary classifiers of every torchvision model. They are never run, so they
# are dropped: a checkpoint may have another number of classes, or none.
HEADS = ("classifier", "fc", "head", "heads", "AuxLogits", "aux1", "aux2")


def drop_heads(module: nn.Module) -> None:
    """Replace the classifiers of a torchvision model by identities: features never reach them."""
    for name, child in module.named_children():
        if name in HEADS and isinstance(child, nn.Module):
            setattr(module, name, nn.Identity())


def is_head(key: str) -> bool:
    """Whether a key of a state dict is of a classifier."""
    return key.split(".")[0] in HEADS
