"""A pool of earlier translations, so that a discriminator does not forget earlier generators (Shrivastava et al., 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Up to `size` translated images, saved with the run so that a resumed run continues with the same ones.

    Args:
        size: number of images kept, 50 in CycleGAN; 0 passes every image through.
    """

    def __init__(self, size: int = 50) -> None:
        super().__init__()
        self.size = size
        self.images = torch.zeros(0)

    @torch.no_grad()
    def exchange(self, images: Tensor) -> Tensor:
        """Take (B, 3, H, W) images and return as many.

        While the pool fills, each image is stored and returned. Afterwards each is returned itself or, with equal
        probability, replaces a stored one that is returned instead.
        """
        if self.images.numel() and self.images.shape[1:] != images.shape[1:]:
            raise ValueError(f"the pool holds images of {tuple(self.images.shape[1:])}; got {tuple(images.shape[1:])}")
        self.images = self.images.to(images)  # a resumed run's images are on the device they were loaded to
        given = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images = torch.cat([self.images.view(-1, *image.shape), image[None]])
            elif self.size and torch.rand(()) > 0.5:
                place = int(torch.randint(self.size, ()))
                image, self.images[place] = self.images[place].clone(), image.clone()
            given.append(image)
        return torch.stack(given)

    def get_extra_state(self) -> Tensor:
        """Return the images for the saved state."""
        return self.images.cpu()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the images."""
        self.images = state.clone()
