"""Photo in, prediction out: networks, checkpoints and prediction.

Needs torch, timm, numpy, pillow, pydantic, pyyaml, safetensors, tqdm and huggingface-hub; independent of training and of any
user interface.
"""
