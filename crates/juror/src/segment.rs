//! Cutting a video into segments of (about) equal length, each of which is scored by itself.

use juror_media::TimeWindow;

use crate::error::Error;

/// More segments than this are surely a slip (a video of a day in segments of a second has 86 400).
const MOST: f64 = 100_000.0;

/// A part of a video, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    pub start_secs: f64,
    pub end_secs: f64,
}

impl Window {
    pub(crate) fn to_time(self) -> Result<TimeWindow, Error> {
        Ok(TimeWindow::new(Some(self.start_secs), Some(self.end_secs))?)
    }
}

/// Segments of `length_secs` that cover `part` of a video of `duration_secs`. A rest shorter than half a
/// segment joins the one before it, so that no score stands on a handful of frames.
///
/// # Errors
/// [`Error::Segments`] when the length is not positive, or far too small for the video.
pub(crate) fn windows(part: TimeWindow, duration_secs: f64, length_secs: f64) -> Result<Vec<Window>, Error> {
    let start_secs = part.start_secs().unwrap_or(0.0);
    let end_secs = part.end_secs().map_or(duration_secs, |end| end.min(duration_secs));
    let span_secs = (end_secs - start_secs).max(0.0);
    let count = (span_secs / length_secs).round().max(1.0);
    if !(length_secs.is_finite() && length_secs > 0.0 && count <= MOST) {
        return Err(Error::Segments { length_secs, span_secs });
    }
    let count = count as usize;
    let window = |index: usize| Window {
        start_secs: start_secs + index as f64 * length_secs,
        end_secs: if index + 1 == count { end_secs } else { start_secs + (index + 1) as f64 * length_secs },
    };
    // A still picture lasts no time: it has nothing to cut.
    Ok(if span_secs == 0.0 { Vec::new() } else { (0..count).map(window).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(part: TimeWindow, duration_secs: f64, length_secs: f64) -> Vec<(f64, f64)> {
        let windows = windows(part, duration_secs, length_secs).unwrap();
        windows.into_iter().map(|window| (window.start_secs, window.end_secs)).collect()
    }

    #[test]
    fn segments_cover_the_part_and_short_rests_join() {
        assert_eq!(cut(TimeWindow::ALL, 10.0, 5.0), [(0.0, 5.0), (5.0, 10.0)]);
        assert_eq!(cut(TimeWindow::ALL, 11.0, 5.0), [(0.0, 5.0), (5.0, 11.0)]);
        assert_eq!(cut(TimeWindow::ALL, 13.0, 5.0), [(0.0, 5.0), (5.0, 10.0), (10.0, 13.0)]);
        assert_eq!(cut(TimeWindow::ALL, 2.0, 5.0), [(0.0, 2.0)]);
        let part = TimeWindow::new(Some(3.0), Some(60.0)).unwrap();
        assert_eq!(cut(part, 7.0, 2.0), [(3.0, 5.0), (5.0, 7.0)]);
        assert_eq!(cut(TimeWindow::ALL, 0.0, 1.0), []);
    }

    #[test]
    fn useless_lengths_are_refused() {
        for length_secs in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-6] {
            assert!(windows(TimeWindow::ALL, 60.0, length_secs).is_err(), "{length_secs}");
        }
    }
}
