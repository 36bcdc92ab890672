"""The packages with kernels of others, by the extra of sbench that installs each."""

DISTRIBUTIONS = {"cudnn": "nvidia-cudnn-frontend", "fa4": "flash-attn-4", "flashqla": "flash-qla"}
