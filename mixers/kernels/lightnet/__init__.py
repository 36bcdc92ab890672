"""LightNet's keys and decays from the logits of its keys, as Triton kernels that work on all of time at once.

Letters: B batch, L frames, S channels: the key widths of all heads side by side. For each channel, with the logits x,

    z_t = log(exp x_1 + ... + exp x_t)                 the running total, on a log scale
    k_t = exp(x_t - z_t)                               the share of a frame, its key
    g_t = z_{t-1} - z_t                                the log decay of what came before, 0 for the first frame

Source: Qin et al. 2024, "You Only Scan Once", arXiv 2405.21022, section 3. Step by step, with d = x_t - z_{t-1}, this
is k_t = sigmoid(d) and z_t = z_{t-1} + softplus(d). These lose no digits and cannot overflow. The gradients, from dk
and dg, need only the keys, since exp(g_t) = 1 - k_t:

    dz_t = dg_{t+1} - dg_t - k_t dk_t                  without the dg of the first frame and of one after the last
    dx_t = k_t (dk_t + r_t),   r_t = sum_{s >= t} dz_s exp(z_t - z_s) = dz_t + (1 - k_{t+1}) r_{t+1}

**Blocks.** Both recurrences go over time in blocks of BLOCK frames, all blocks at once. One kernel computes the total
of each block. A second one starts each block from the totals of the others, and steps through its frames. Neighbouring
threads have neighbouring channels, so every step reads and writes whole rows. Apart from inputs and outputs only the
totals are stored, S for each block.
"""
