//! A real encode and decode inside a chain: frames go through the encoder, its packets straight into the decoder.

use super::{ClipInfo, Stage};
use crate::encode::{Codec, EncodeOptions, PacketEncoder, unpadded};
use crate::{Frame, Matrix, MediaError};
use ffmpeg_next as ffmpeg;
use ffmpeg_next::codec::threading;
use std::collections::VecDeque;

/// Encodes and decodes; holds only the frames that the encoder looks ahead.
pub(crate) struct Recode {
    options: EncodeOptions,
    fps: f64,
    open: Option<Open>,
}

struct Open {
    encoder: PacketEncoder,
    decoder: ffmpeg::decoder::Video,
    width: usize,
    height: usize,
    matrix: Matrix,
    /// Times of the frames inside, oldest first; decoders give frames in order.
    pts_secs: VecDeque<f64>,
}

impl Recode {
    pub(crate) fn new(options: EncodeOptions, info: ClipInfo) -> Self {
        Self { options, fps: info.fps, open: None }
    }
}

impl Stage for Recode {
    fn push(&mut self, frame: Frame, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        if self.open.is_none() {
            self.open = Some(Open::new(&frame, self.fps, &self.options)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.encoder.send(&frame.picture)?;
        open.pts_secs.push_back(frame.pts_secs);
        open.drain_encoder(out)
    }

    fn finish(&mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.encoder.finish()?;
        open.drain_encoder(out)?;
        open.decoder.send_eof().map_err(|error| MediaError::ffmpeg("ending the decoder", error))?;
        open.drain_decoder(out)?;
        if open.pts_secs.is_empty() {
            return Ok(());
        }
        Err(MediaError::Ffmpeg {
            doing: format!("decoding its own {:?} encode", self.options.codec),
            reason: format!("{} frames did not come back", open.pts_secs.len()),
        })
    }
}

/// A decoder on one thread for what `encoder` writes.
pub(super) fn decoder_of(
    encoder: &PacketEncoder,
    codec: Codec,
    flags: ffmpeg::codec::Flags,
) -> Result<ffmpeg::decoder::Video, MediaError> {
    let opening = |error| MediaError::ffmpeg(format!("opening a decoder for {codec:?}"), error);
    let mut context = ffmpeg::codec::Context::from_parameters(encoder.parameters()).map_err(opening)?;
    context.set_threading(threading::Config { kind: threading::Type::None, count: 1, ..Default::default() });
    if !flags.is_empty() {
        context.set_flags(flags);
    }
    context.decoder().video().map_err(opening)
}

impl Open {
    fn new(first: &Frame, fps: f64, options: &EncodeOptions) -> Result<Self, MediaError> {
        let encoder = PacketEncoder::open(&first.picture, fps, options, false)?;
        let decoder = decoder_of(&encoder, options.codec, ffmpeg::codec::Flags::empty())?;
        Ok(Self {
            encoder,
            decoder,
            width: first.picture.width(),
            height: first.picture.height(),
            matrix: first.picture.matrix(),
            pts_secs: VecDeque::new(),
        })
    }

    fn drain_encoder(&mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        while let Some(packet) = self.encoder.receive()? {
            self.decoder
                .send_packet(&packet)
                .map_err(|error| MediaError::ffmpeg("decoding an encode", error))?;
            self.drain_decoder(out)?;
        }
        Ok(())
    }

    fn drain_decoder(&mut self, out: &mut Vec<Frame>) -> Result<(), MediaError> {
        let mut decoded = ffmpeg::frame::Video::empty();
        loop {
            match self.decoder.receive_frame(&mut decoded) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) => return Ok(()),
                Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => return Ok(()),
                Err(error) => return Err(MediaError::ffmpeg("decoding an encode", error)),
            }
            let Some(pts_secs) = self.pts_secs.pop_front() else {
                return Err(MediaError::Ffmpeg {
                    doing: "decoding an encode".to_owned(),
                    reason: "more frames came back than went in".to_owned(),
                });
            };
            let picture = unpadded(&decoded, self.width, self.height)?.with_matrix(self.matrix);
            out.push(Frame { picture, pts_secs });
        }
    }
}
