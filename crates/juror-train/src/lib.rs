//! From unlabelled video to a better judge: simulators' labels, training, validation.
