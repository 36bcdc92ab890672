"""FoX's attention as Triton kernels."""
