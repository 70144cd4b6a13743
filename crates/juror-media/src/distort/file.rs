//! From file to file: the engine of `juror distort`.

use super::{Chain, ClipInfo};
use crate::encode::{Container, EncodeOptions, Encoder};
use crate::{MediaError, TimeWindow, Video};
use std::path::Path;

/// Threads of the lossless encode. Fixed, because the bytes of some encoders depend on it. The encode of a codec
/// distortion has one thread as in memory, because there even the pictures depend on it.
const LOSSLESS_THREADS: usize = 4;

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct DistortedFile {
    /// Frames in the file.
    pub frame_count: usize,
    /// Width of its pictures.
    pub width: usize,
    /// Height of its pictures.
    pub height: usize,
    /// What a user should know about how the input was read.
    pub warnings: Vec<String>,
}

/// Reads `input` (within `window`), applies `chain` and writes `output`, whose extension chooses the container.
///
/// When the chain ends with a codec that the container can carry, its encode is the file: nothing is encoded twice.
/// Otherwise the file keeps every sample (lossless H.264; lossless VP9 in WebM). Times count from the first frame read.
/// The pictures are those that [`Chain::apply_all`] gives. Pictures of odd size lose their last column or row where the codec demands even sizes. Sound is dropped. Memory
/// does not grow with duration, and nothing is left behind on failure. The same arguments give the same bytes.
///
/// # Errors
/// Those of reading, of the stages and of [`Encoder`]; [`MediaError::Invalid`] when output and input are one file.
pub fn distort_file(
    input: &Path,
    output: &Path,
    chain: &Chain,
    seed: u64,
    window: TimeWindow,
) -> Result<DistortedFile, MediaError> {
    if let (Ok(from), Ok(to)) = (input.canonicalize(), output.canonicalize())
        && from == to
    {
        return Err(MediaError::invalid(format!(
            "output and input are the same file; choose another output: {}",
            output.display()
        )));
    }
    let (stages, options) = split_last_codec(chain, output)?;
    let video = Video::open(input)?;
    let info = video.info();
    let (start_secs, end_secs) = window.clamped(info.duration_secs);
    let clip = ClipInfo {
        fps: if info.fps > 0.0 { info.fps } else { 30.0 },
        duration_secs: (end_secs > start_secs).then_some(end_secs - start_secs),
    };
    let mut encoder = Encoder::create(output, stages.info_after(clip).fps, options)?;
    let mut stream = video.frames(window)?;
    let mut first_pts_secs = None;
    let source = std::iter::from_fn(|| {
        let frame = stream.next_frame().and_then(|decoded| decoded.map(|d| d.to_frame()).transpose());
        frame.transpose().map(|frame| {
            frame.map(|mut frame| {
                frame.pts_secs -= *first_pts_secs.get_or_insert(frame.pts_secs);
                frame
            })
        })
    });
    let (mut frame_count, mut size) = (0, (0, 0));
    for frame in stages.apply(source, clip, seed) {
        encoder.push(&frame?)?;
        frame_count += 1;
        size = encoder.coded_size().unwrap_or(size);
    }
    encoder.finish()?;
    let warnings = info.warnings.iter().cloned().chain(stream.warnings()).collect();
    Ok(DistortedFile { frame_count, width: size.0, height: size.1, warnings })
}

/// The part of the chain that is applied to frames, and the encode of the file: the chain's last codec where possible.
fn split_last_codec(chain: &Chain, output: &Path) -> Result<(Chain, EncodeOptions), MediaError> {
    let container = Container::of(output)?;
    if let [earlier @ .., last] = chain.distortions()
        && let Some(options) = last.encode_options()
        && container.carries(options.codec)
    {
        return Ok((Chain::new(earlier.to_vec()), options));
    }
    let lossless = EncodeOptions { threads: LOSSLESS_THREADS, ..EncodeOptions::lossless_for(output)? };
    Ok((chain.clone(), lossless))
}
