"""Photo in, prediction out: networks, checkpoints and the one road from a picture to its labels.

Needs torch, timm, numpy, pillow, pydantic, pyyaml, safetensors, tqdm and huggingface-hub; knows nothing of training or of
any user interface.
"""
