//! What is no readable video is refused with the right kind and a message that names the file and the way out.

use juror_media::{MediaError, TimeWindow, Video};

use crate::media::{folder, open, path};

fn refused(path: impl AsRef<std::path::Path>) -> MediaError {
    let path = path.as_ref();
    let outcome = Video::open(path).and_then(|video| {
        let mut frames = video.frames(TimeWindow::ALL)?;
        frames.next_frame().map(|frame| frame.is_some())
    });
    let error = outcome.expect_err("an error");
    let message = error.to_string();
    assert!(message.ends_with(&path.display().to_string()), "{message}");
    assert_eq!(error.path(), Some(path));
    error
}

#[test]
fn every_wrong_input_has_its_kind() {
    for (name, kind) in [
        ("empty.mp4", "not_video"),
        ("text.mp4", "not_video"),
        ("text.txt", "not_video"),
        ("audio-only.wav", "no_video_stream"),
        ("cover.mp3", "no_video_stream"),
        ("truncated-without-index.mp4", "truncated"),
        ("truncated.png", "truncated"),
        ("playlist.m3u8", "unsupported"),
        ("huge.png", "unsupported"),
    ] {
        assert_eq!(refused(path(name)).kind(), kind, "{name}");
    }
    assert_eq!(refused(folder()).kind(), "not_video");
    assert_eq!(refused(folder().join("missing.mp4")).kind(), "not_found");
    assert_eq!(refused(path("plain.mp4").join("below-a-file.mp4")).kind(), "not_found");
}

#[test]
fn messages_name_what_is_there_instead() {
    let message = |name: &str| refused(path(name)).to_string();
    assert!(message("cover.mp3").contains("1 audio stream, 1 cover picture only"));
    assert!(message("empty.mp4").contains("0 bytes"));
    assert!(message("huge.png").contains("65535x65535"));
    assert!(message("truncated-without-index.mp4").contains("moov"));
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_refused_without_waiting_for_a_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe.mp4");
    let status = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(status.success());
    let error = refused(&pipe);
    assert_eq!(error.kind(), "not_video");
    assert!(error.to_string().contains("save it to a file first"));
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let locked = folder.path().join("locked.mp4");
    std::fs::copy(path("plain.mp4"), &locked).expect("a copy");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o000)).expect("permissions");
    if std::fs::File::open(&locked).is_ok() {
        eprintln!("SKIPPED: this user may read everything");
        return;
    }
    let error = refused(&locked);
    assert_eq!(error.kind(), "not_found");
    assert!(error.to_string().to_lowercase().contains("permission denied"));
}

#[test]
fn a_window_past_the_end_is_too_short() {
    let window = TimeWindow::new(Some(2.5), None).expect("a window");
    let error = open("plain.mp4").frames(window).err().expect("an error");
    assert_eq!(error.kind(), "too_short");
    assert!(error.to_string().contains("2.5 s") && error.to_string().contains("2.000 s"), "{error}");
}

#[test]
fn windows_are_validated() {
    for (start, end) in [
        (Some(-1.0), None),
        (Some(f64::NAN), None),
        (None, Some(0.0)),
        (Some(2.0), Some(2.0)),
        (Some(3.0), Some(2.0)),
        (None, Some(f64::INFINITY)),
    ] {
        assert!(TimeWindow::new(start, end).is_err(), "{start:?} to {end:?}");
    }
}
