//! What candle lacks for juror: fused CPU operations with gradients, optimiser, checkpoints.
