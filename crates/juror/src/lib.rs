//! Compare, score and rank videos without a reference.
