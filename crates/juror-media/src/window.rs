//! A part of a video, in seconds on the player's clock (0 is the first frame).

use crate::error::{MediaError, Result};

/// The part of a video to look at: from `start` (the beginning where missing) to before `end` (the end where missing).
/// Counted in seconds from the first frame, as a player's clock does, whatever timestamp that frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TimeWindow {
    start_secs: Option<f64>,
    end_secs: Option<f64>,
}

impl TimeWindow {
    /// The whole video.
    pub const ALL: Self = Self { start_secs: None, end_secs: None };

    /// A window. Fails unless both times are finite, the start is not negative and the end comes after it.
    pub fn new(start_secs: Option<f64>, end_secs: Option<f64>) -> Result<Self> {
        if let Some(start) = start_secs
            && !(start.is_finite() && start >= 0.0)
        {
            return Err(MediaError::invalid(format!(
                "a window starting at {start} s: 0 or later is allowed"
            )));
        }
        let start = start_secs.unwrap_or(0.0);
        if let Some(end) = end_secs
            && !(end.is_finite() && end > start)
        {
            return Err(MediaError::invalid(format!(
                "a window from {start} s to {end} s: the end must come after the start"
            )));
        }
        Ok(Self { start_secs, end_secs })
    }

    /// Where the window starts, if not at the beginning.
    pub fn start_secs(&self) -> Option<f64> {
        self.start_secs
    }

    /// Where the window ends, if not at the end.
    pub fn end_secs(&self) -> Option<f64> {
        self.end_secs
    }

    /// The window cut to a video of `duration_secs`: `(start, end)`, empty or reversed where it lies outside.
    pub(crate) fn clamped(&self, duration_secs: f64) -> (f64, f64) {
        (self.start_secs.unwrap_or(0.0), self.end_secs.map_or(duration_secs, |end| end.min(duration_secs)))
    }
}
