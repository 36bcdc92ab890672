"""LightNet's keys and decays as Triton kernels."""
