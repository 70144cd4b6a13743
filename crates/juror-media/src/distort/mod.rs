//! Distortions of known kind and severity.
