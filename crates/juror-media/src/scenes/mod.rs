//! Procedural scenes.
