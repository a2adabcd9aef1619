"""Kernels for NVIDIA Hopper GPUs in Pallas (Mosaic GPU): linear attention and the delta rule.

A sequence is cut into chunks of 64 tokens; `chunks` states the one problem that they pose. Some
kernels run chunk after chunk with the state in registers, one block of threads for each head and 64
value columns; the others do every chunk by itself, on as many blocks as there are chunks and heads.

    forward pass                          backward pass
    scores | factors   by chunk           scores | factors   by chunk, again
    forward            along time         forward            along time, keeps the states
                                          adjoint            back along time
                                          head_gradients     by chunk
                                          factor_gradients   by chunk, the delta rule only

`scores` serves linear attention and `factors` the delta rule, with no decay or one a head. With one
decay a key XLA makes the operands (`ready`), and `gradients` stands for the last two. Between the
passes only the inputs are kept. Operands of products are bfloat16; sums are float32, the
state too, and so is the gradient of the delta rule's keys on its way from `head_gradients` to
`factor_gradients`, whose part may cancel it.

Nothing here has run on a GPU. Checked without one: every kernel equals the token recurrence in
Pallas' interpreter, without races, and compiles for sm_90a. To be checked on an H100 or H200:

1. Outputs, state and gradients against `reference`, at t = 1, 63, 64, 65, 200, 1000 and 65536,
   with k and v of 64, 128 and 256, within 2^-7 of the largest entry (2^-6 with keys nearly
   parallel). The interpreter has no asynchronous products: a missing fence shows only there.
2. The same bits from two runs, and no fault under `compute-sanitizer --tool racecheck`.
3. Time, and the share of bandwidth, of each kernel: they carry their names in a profile. First
   suspects: one warpgroup a block in `forward` and `adjoint`, whose shared memory leaves room for
   one block a multiprocessor at k = v = 128; the registers that `factor_gradients` spills.
4. b h v / 64 below 132 leaves multiprocessors idle in the passes along time.
"""
