"""Causal softmax attention with a forget gate as Triton kernels. Memory grows with the length, not with its square.

Letters: B batch, L frames, H heads of queries, G heads of keys and values (each serves H / G heads of queries), K width
of a head. The log forget gates are f (B, L, H), their running sums c_i = f_1 + ... + f_i, and scale = 1 / sqrt(K). For
each head

    s_ij = scale q_i.k_j + c_i - c_j          for j <= i
    p_ij = exp(s_ij) / sum_j exp(s_ij),       o_i = sum_j p_ij v_j

Source: Lin et al. 2025, "Forgetting Transformer", arXiv 2503.02130, equations 3 to 6. Computed tile by tile with a
running maximum, as in Dao 2024, "FlashAttention-2", arXiv 2307.08691, algorithms 1 and 2. The gradients, from do:

    delta_i = do_i.o_i,   ds_ij = p_ij (do_i.v_j - delta_i)
    dq_i = scale sum_j ds_ij k_j,   dk_j = scale sum_i ds_ij q_i,   dv_j = sum_i p_ij do_i
    dc_t = sum_j ds_tj - sum_i ds_it,   df_t = dc_t + ... + dc_L

In exact arithmetic the row sums in dc are zero. They are kept because a bfloat16 output puts a rounding error into
delta, and this error cancels in df only with them.
"""
