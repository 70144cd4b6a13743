//! Encoding pictures to files.
