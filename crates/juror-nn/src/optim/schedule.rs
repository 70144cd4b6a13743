//! Learning rate as a function of the step: linear warm-up, then constant, linear or cosine decay.

/// Shape of the decay behind a linear warm-up. Steps count from 0.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Schedule {
    /// Stays at the peak.
    Constant {
        /// Steps until the peak.
        warmup: u64,
    },
    /// Falls linearly to `floor` times the peak at step `total`.
    Linear {
        /// Steps until the peak.
        warmup: u64,
        /// All steps.
        total: u64,
        /// Share of the peak at the end.
        floor: f64,
    },
    /// Falls by half a cosine to `floor` times the peak at step `total` (Loshchilov & Hutter 2017).
    Cosine {
        /// Steps until the peak.
        warmup: u64,
        /// All steps.
        total: u64,
        /// Share of the peak at the end.
        floor: f64,
    },
}

impl Schedule {
    /// Factor on the peak learning rate at `step`.
    pub fn factor(&self, step: u64) -> f64 {
        let (Self::Constant { warmup } | Self::Linear { warmup, .. } | Self::Cosine { warmup, .. }) = *self;
        if step < warmup {
            return (step + 1) as f64 / warmup as f64;
        }
        let progress =
            |total: u64| ((step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64).min(1.0);
        match *self {
            Self::Constant { .. } => 1.0,
            Self::Linear { total, floor, .. } => 1.0 - (1.0 - floor) * progress(total),
            Self::Cosine { total, floor, .. } => {
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress(total)).cos())
            }
        }
    }
}
