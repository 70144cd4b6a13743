//! Prints what a video is, the times of its frames, and what went wrong while reading: `probe FILE...`.
#![allow(clippy::print_stdout)]

use juror_media::{TimeWindow, Video};

fn main() {
    for path in std::env::args_os().skip(1) {
        let outcome = Video::open(&path).and_then(|video| {
            println!("{:#?}", video.info());
            let mut frames = video.frames(TimeWindow::ALL)?;
            let mut times = Vec::new();
            while let Some(frame) = frames.next_frame()? {
                times.push(frame.pts_secs());
                if times.len() == 1 {
                    let picture = frame.to_picture()?;
                    println!("first picture: {}x{}", picture.width(), picture.height());
                }
            }
            println!("{} frames, first {:?}, last {:?}", times.len(), times.first(), times.last());
            println!("{:?}", frames.warnings());
            Ok(())
        });
        if let Err(error) = outcome {
            println!("{} ({error})", error.kind());
        }
    }
}
