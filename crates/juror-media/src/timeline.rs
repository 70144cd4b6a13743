//! When the frames of a video are shown, learnt by reading its packets without decoding them.
//!
//! Headers may lack a duration, or lie. The packets cannot: their timestamps, sorted, are the presentation times. Eight
//! bytes a frame are kept. Codecs with hidden frames and streams without timestamps make the list approximate, so it
//! places sampling targets and ends, while the decoder's own timestamps decide which frame is shown at a target.

use std::cmp::Ordering;

use ffmpeg_next as ff;

use crate::source::Source;

/// Presentation times of the frames of one video, in ticks of its time base.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    /// Seconds per tick.
    pub(crate) tick_secs: f64,
    /// Presentation times, ascending, without repeats.
    pub(crate) ticks: Vec<i64>,
    /// When the last frame stops being shown.
    pub(crate) end_ticks: i64,
    /// Whether the times are the file's own (false: numbered at the nominal rate).
    pub(crate) has_timestamps: bool,
    /// The median interval between frames; 0 for fewer than two.
    pub(crate) typical_interval: i64,
    /// The latest end over all streams which were read, in seconds.
    pub(crate) data_end_secs: f64,
    /// Video packets seen, and those flagged as damaged.
    pub(crate) packets: usize,
    pub(crate) damaged_packets: usize,
    /// Bytes of video.
    pub(crate) bytes: u64,
    /// The demuxer gave up before the end of the file.
    pub(crate) read_error: Option<String>,
}

impl Timeline {
    /// Reads `source` to its end. Other streams are looked at only where the container states one duration for all.
    pub(crate) fn scan(source: &mut Source) -> Self {
        let index = source.stream;
        if source.stated_stream_secs.is_some() || source.stated_container_secs.is_none() {
            crate::ffi::keep_only(&mut source.input, index);
        }
        let tick_secs: Vec<f64> = source.input.streams().map(|s| f64::from(s.time_base())).collect();
        let mut timeline = Self { tick_secs: tick_secs[index], ..Self::default() };
        let mut last_duration = 0;
        let mut latest = (i64::MIN, 0);
        let mut unstamped = 0usize;
        let mut only_decoding_times = true;
        loop {
            let mut packet = ff::Packet::empty();
            match packet.read(&mut source.input) {
                Ok(()) => {}
                Err(ff::Error::Eof) => break,
                Err(ff::Error::Other { errno: ff::error::EAGAIN }) => continue,
                Err(error) => {
                    timeline.read_error = Some(error.to_string());
                    break;
                }
            }
            let time = packet.pts().or(packet.dts());
            if let (Some(time), Some(tick_secs)) = (time, tick_secs.get(packet.stream())) {
                let end = (time + packet.duration().max(0)) as f64 * tick_secs;
                timeline.data_end_secs = timeline.data_end_secs.max(end);
            }
            if packet.stream() != index {
                continue;
            }
            timeline.packets += 1;
            timeline.bytes += packet.size() as u64;
            timeline.damaged_packets += usize::from(packet.is_corrupt());
            if crate::ffi::is_hidden(&packet) {
                continue;
            }
            let Some(time) = time else {
                unstamped += 1;
                continue;
            };
            only_decoding_times &= packet.pts().is_none();
            last_duration = packet.duration().max(0);
            if time > latest.0 {
                latest = (time, last_duration);
            }
            timeline.ticks.push(time);
        }
        timeline.has_timestamps = unstamped <= timeline.ticks.len();
        if timeline.has_timestamps {
            timeline.ticks.sort_unstable();
            timeline.ticks.dedup();
            timeline.typical_interval = median_interval(&timeline.ticks);
            if only_decoding_times {
                // Some containers (AVI) tell when frames are decoded; a decoder shows them so many frames later.
                let delay = i64::from(source.parameters.reorder_delay) * timeline.typical_interval;
                timeline.ticks.iter_mut().for_each(|ticks| *ticks += delay);
                latest.0 += delay;
            }
            let duration = if latest.1 > 0 { latest.1 } else { last_duration.max(timeline.typical_interval) };
            timeline.end_ticks = timeline.ticks.last().map_or(0, |last| last + duration);
        } else {
            timeline.number_frames(source);
        }
        timeline
    }

    /// Gives the frames of a stream without timestamps the times of its nominal rate.
    fn number_frames(&mut self, source: &Source) {
        let rate = source.input.stream(source.stream).map_or(0.0, |s| nominal_fps(&s));
        let rate = if rate > 0.0 { rate } else { 25.0 };
        let at = |n: usize| (n as f64 / rate / self.tick_secs).round() as i64;
        self.ticks = (0..self.packets).map(at).collect();
        self.end_ticks = at(self.packets);
        self.typical_interval = at(1);
    }

    pub(crate) fn secs(&self, ticks: i64) -> f64 {
        ticks as f64 * self.tick_secs
    }

    pub(crate) fn start_secs(&self) -> f64 {
        self.secs(self.ticks.first().copied().unwrap_or(0))
    }

    pub(crate) fn end_secs(&self) -> f64 {
        self.secs(self.end_ticks)
    }

    /// Mean frames per second, `stated` where it agrees within a thousandth (timestamps of some containers are rounded).
    pub(crate) fn mean_fps(&self, stated: f64) -> f64 {
        let (Some(first), Some(last)) = (self.ticks.first(), self.ticks.last()) else { return stated };
        if self.ticks.len() < 2 {
            return stated;
        }
        let measured = (self.ticks.len() - 1) as f64 / self.secs(last - first);
        match (measured / stated - 1.0).abs().partial_cmp(&1e-3) {
            Some(Ordering::Less) => stated,
            _ => measured,
        }
    }
}

fn median_interval(ticks: &[i64]) -> i64 {
    let mut intervals: Vec<i64> = ticks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if intervals.is_empty() {
        return 0;
    }
    let middle = intervals.len() / 2;
    *intervals.select_nth_unstable(middle).1
}

/// The rate the container states, else the one guessed from the codec, else 0.
pub(crate) fn nominal_fps(stream: &ff::format::stream::Stream) -> f64 {
    [stream.avg_frame_rate(), stream.rate()]
        .into_iter()
        .find(|r| r.numerator() > 0 && r.denominator() > 0)
        .map_or(0.0, f64::from)
}
