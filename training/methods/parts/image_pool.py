"""A pool of earlier translations, so that a discriminator does not forget what it has seen through (Shrivastava et al., 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Up to `size` translated images; it is saved with the run, so that a resumed one goes on with the same.

    Args:
        size: images kept; CycleGAN's 50. 0 hands every image through.
    """

    def __init__(self, size: int = 50) -> None:
        super().__init__()
        self.size = size
        self.images = torch.zeros(0)

    @torch.no_grad()
    def exchange(self, images: Tensor) -> Tensor:
        """Take in (B, 3, H, W) and give back as many.

        While the pool fills, an image is stored and given back. Afterwards each is given back itself or, as often, put
        in the place of a stored one that is given back instead.
        """
        if self.images.numel() and self.images.shape[1:] != images.shape[1:]:
            raise ValueError(f"the pool holds images of {tuple(self.images.shape[1:])}; got {tuple(images.shape[1:])}")
        self.images = self.images.to(images)  # a resumed run's lie where they were loaded
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
        """The images, for the state of the run."""
        return self.images.cpu()

    def set_extra_state(self, state: Tensor) -> None:
        """Take them back."""
        self.images = state.clone()
