//! Pixels in and out: probe, decode by timestamp, colour, sample, distort, encode, render scenes.
