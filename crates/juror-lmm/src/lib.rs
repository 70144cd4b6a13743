//! The judging models, one folder each, weight paths as in their checkpoints.
