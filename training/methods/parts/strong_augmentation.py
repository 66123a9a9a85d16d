"""Colour jitter and blur on the device, as DAFormer applies them to mixed images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

JITTER_PROBABILITY = 0.8
"""The authors' option is p = 0.2, but their code jitters when a uniform draw *exceeds* it."""
BLUR_PROBABILITY = 0.5
BLUR_SIGMA = (0.15, 1.15)


def augment(images: Tensor, strength: float = 0.2) -> Tensor:
    """Jitter and blur (B, 3, H, W) RGB in [0,1]; whether to do so is drawn once per batch, the amount once per image.

    Brightness, contrast, saturation and hue move by up to `strength` in torchvision's definition of each and in random
    order; the reference numbers do not cover the authors' library.
    """
    jitter, blur = torch.rand(2).tolist()
    if strength > 0 and jitter > 1 - JITTER_PROBABILITY:
        images = torch.stack([jitter_colours(image, strength) for image in images])
    if blur > 1 - BLUR_PROBABILITY:
        lowest, highest = BLUR_SIGMA
        sigmas = (lowest + (highest - lowest) * torch.rand(len(images))).tolist()
        images = torch.stack([blur_image(image, sigma) for image, sigma in zip(images, sigmas, strict=True)])
    return images


def jitter_colours(image: Tensor, strength: float | tuple[float, float, float, float]) -> Tensor:
    """Change brightness, contrast, saturation and hue of (3, H, W), each by its own random amount up to its strength."""
    from torchvision.transforms.v2 import functional as V  # imports PyTorch's compiler, which pages do without

    changes = (V.adjust_brightness, V.adjust_contrast, V.adjust_saturation)
    amounts = torch.tensor(strength) * (2 * torch.rand(4) - 1)
    for number in torch.randperm(4).tolist():
        amount = float(amounts[number])
        image = V.adjust_hue(image, amount) if number == 3 else changes[number](image, 1 + amount)
    return image


def blur_image(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (3, H, W) with reflection padding; the kernel is about a tenth of each side."""
    from torchvision.transforms.v2 import functional as V

    height, width = image.shape[-2:]
    with torch.autocast(image.device.type, enabled=False):  # a convolution, which would round pixels to half precision
        return V.gaussian_blur(image, [blur_kernel(width), blur_kernel(height)], [sigma, sigma])


def blur_kernel(side: int) -> int:
    """Odd width of the kernel for an image side of `side` pixels: 51 for 512."""
    tenth = math.ceil(0.1 * side)
    return tenth - 1 + tenth % 2
