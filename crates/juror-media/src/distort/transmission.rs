//! Packet loss: a real H.264 stream, cut into slices as small as a network's packets, some of which never arrive.
//!
//! The encode (CRF 20, no B-frames, a key frame every two seconds) is the same at all levels; so is the draw of every
//! packet, so that a higher level loses a superset. The decoder conceals what is missing from what it has, as players do, and
//! goes wrong until the next key frame. Of a frame that is lost as a whole, the picture before it stands in. The first
//! frame arrives whole: without it there is no picture to conceal with.

use super::codec::decoder_of;
use super::{ClipInfo, Stage};
use crate::encode::{Codec, EncodeOptions, PacketEncoder, Rate, unpadded};
use crate::{Frame, Matrix, MediaError, Picture};
use ffmpeg_next as ffmpeg;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// What fits into an Ethernet frame beside the headers of RTP, UDP and IP.
const PACKET_BYTES: usize = 1200;
const CRF: f64 = 20.0;

/// Encodes, loses packets, decodes.
pub(crate) struct PacketLoss {
    loss_share: f64,
    fps: f64,
    rng: ChaCha8Rng,
    open: Option<Open>,
}

struct Open {
    encoder: PacketEncoder,
    decoder: ffmpeg::decoder::Video,
    width: usize,
    height: usize,
    matrix: Matrix,
    /// Times of the frames that were not shown yet; the first has the number `next_index`.
    pts_secs: VecDeque<f64>,
    next_index: i64,
    shown: Option<Picture>,
}

impl PacketLoss {
    pub(crate) fn new(loss_share: f64, info: ClipInfo, seed: u64) -> Self {
        Self { loss_share, fps: info.fps, rng: ChaCha8Rng::seed_from_u64(seed), open: None }
    }
}

impl Stage for PacketLoss {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        if self.open.is_none() {
            self.open = Some(Open::new(&frame, self.fps)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.encoder.send(&frame.picture)?;
        open.pts_secs.push_back(frame.pts_secs);
        open.transmit(self.loss_share, &mut self.rng, out)
    }

    fn finish(&mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.encoder.finish()?;
        open.transmit(self.loss_share, &mut self.rng, out)?;
        open.decoder.send_eof().map_err(|error| MediaError::ffmpeg("ending the decoder", error))?;
        open.receive(out)?;
        // The last frames may be lost as a whole.
        open.show_until(open.next_index + open.pts_secs.len() as i64, out);
        Ok(())
    }
}

impl Open {
    fn new(first: &Frame, fps: f64) -> Result<Self, MediaError> {
        let options = EncodeOptions {
            preset: Some("veryfast".to_owned()),
            packet_bytes: Some(PACKET_BYTES),
            ..EncodeOptions::new(Codec::H264, Rate::Crf(CRF))
        };
        let encoder = PacketEncoder::open(&first.picture, fps, &options, false)?;
        // Also frames that refer to what never arrived are shown.
        let decoder = decoder_of(&encoder, options.codec, ffmpeg::codec::Flags::OUTPUT_CORRUPT)?;
        Ok(Self {
            encoder,
            decoder,
            width: first.picture.width(),
            height: first.picture.height(),
            matrix: first.picture.matrix(),
            pts_secs: VecDeque::new(),
            next_index: 0,
            shown: None,
        })
    }

    /// Sends on what the encoder has ready and the network does not lose.
    fn transmit(
        &mut self,
        loss_share: f64,
        rng: &mut ChaCha8Rng,
        out: &mut Vec<Frame>,
    ) -> Result<(), MediaError> {
        while let Some(packet) = self.encoder.receive()? {
            let is_first = packet.pts() == Some(0);
            let mut arrived = Vec::with_capacity(packet.size());
            for unit in units(packet.data().unwrap_or_default()) {
                let lost = is_slice(unit) && rng.random::<f64>() < loss_share && !is_first;
                if !lost {
                    arrived.extend_from_slice(unit);
                }
            }
            if arrived.is_empty() {
                continue;
            }
            let mut rest = ffmpeg::Packet::copy(&arrived);
            rest.set_pts(packet.pts());
            rest.set_dts(packet.dts());
            match self.decoder.send_packet(&rest) {
                Ok(()) => self.receive(out)?,
                // Not a slice of it could be made use of: the frame is lost.
                Err(ffmpeg::Error::InvalidData) => {}
                Err(error) => return Err(MediaError::ffmpeg("decoding a lossy stream", error)),
            }
        }
        Ok(())
    }

    /// Takes the pictures that the decoder has ready.
    fn receive(&mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let mut decoded = ffmpeg::frame::Video::empty();
        loop {
            match self.decoder.receive_frame(&mut decoded) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) => return Ok(()),
                Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => return Ok(()),
                Err(ffmpeg::Error::InvalidData) => continue,
                Err(error) => return Err(MediaError::ffmpeg("decoding a lossy stream", error)),
            }
            let Some(index) = decoded.pts() else { continue };
            let last = self.next_index + self.pts_secs.len() as i64;
            // Stand-ins that the decoder makes for lost frames carry the time of another.
            if !(self.next_index..last).contains(&index) {
                continue;
            }
            self.show_until(index, out);
            self.shown = Some(unpadded(&decoded, self.width, self.height)?.with_matrix(self.matrix));
            self.show_until(index + 1, out);
        }
    }

    /// Shows the present picture for all frames before `index`.
    fn show_until(&mut self, index: i64, out: &mut Vec<Frame>) {
        while self.next_index < index {
            let (Some(picture), Some(pts_secs)) = (&self.shown, self.pts_secs.pop_front()) else { return };
            out.push(Frame { picture: picture.clone(), pts_secs });
            self.next_index += 1;
        }
    }
}

/// The units of an H.264 stream (ITU-T H.264 annex B), each with the start code before it.
fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts: Vec<usize> =
        stream.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
    starts.push(stream.len());
    // What stands before the first start code (a zero byte) belongs to it.
    if let Some(first) = starts.first_mut().filter(|first| **first < stream.len()) {
        *first = 0;
    }
    (1..starts.len()).map(move |i| &stream[starts[i - 1]..starts[i]])
}

/// Whether a unit is a slice of a picture; the others are headers.
fn is_slice(unit: &[u8]) -> bool {
    let header = unit.iter().position(|&byte| byte != 0).and_then(|one| unit.get(one + 1));
    header.is_some_and(|byte| matches!(byte & 31, 1 | 5))
}
