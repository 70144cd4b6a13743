//! A remote judge on real clips against a server on this machine: what it sends, and what it makes of the answers.
#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

#[path = "../../juror-net/tests/it/server.rs"]
mod server;

use std::path::Path;
use std::time::Duration;

use juror_lmm::error::{Error, Result};
use juror_lmm::prompt::{LEVELS, QUALITY_QUESTION, W2S_ANSWER_PREFIX};
use juror_lmm::remote::{Media, Remote};
use juror_lmm::{JudgeOptions, Lmm, PairJudgement, ScoreJudgement, WatchOptions, Watched};
use juror_media::encode::{EncodeOptions, Encoder};
use juror_media::scenes::{Family, Scene};
use juror_media::{Frame, TimeWindow, Video};
use juror_net::chat::Service;
use juror_net::http::Patience;
use serde_json::{Value, json};

use server::{Reply, Request, Server};

const PLAIN: JudgeOptions = JudgeOptions::PLAIN;
const WRITTEN: JudgeOptions = JudgeOptions { rationale: true, single_order: false, seed: 0 };

/// Two clips, `a.mp4` and `b.mp4`.
fn clips() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, seed) in [("a.mp4", 3), ("b.mp4", 4)] {
        let frames: Vec<Frame> = Scene::of(Family::Leaves, seed).render(96, 64, 30.0, 30).unwrap().collect();
        let path = folder.path().join(name);
        let mut encoder = Encoder::create(&path, 30.0, EncodeOptions::lossless_for(&path).unwrap()).unwrap();
        frames.iter().for_each(|frame| encoder.push(frame).unwrap());
        encoder.finish().unwrap();
    }
    folder
}

fn remote(server: &Server, media: Media) -> Remote {
    let patience = Patience { timeout: Duration::from_secs(20), retries: 1, first_pause: Duration::ZERO };
    let (base_url, model) = (format!("{}/v1", server.url()), "quality".to_owned());
    Remote::new(Service { base_url, model, key: None, patience, concurrency: 4 }, media).unwrap()
}

fn watch(judge: &Remote, path: &Path) -> Result<Watched> {
    judge.watch(&mut Video::open(path).unwrap(), &WatchOptions::default(), &|_| ())
}

fn compare(server: &Server, options: &JudgeOptions) -> Result<PairJudgement> {
    let (clips, judge) = (clips(), remote(server, Media::Frames));
    let [a, b] = ["a.mp4", "b.mp4"].map(|name| watch(&judge, &clips.path().join(name)).unwrap());
    judge.compare(&a, &b, options)
}

fn score(server: &Server, options: &JudgeOptions) -> Result<ScoreJudgement> {
    let (clips, judge) = (clips(), remote(server, Media::Frames));
    judge.score(&watch(&judge, &clips.path().join("a.mp4")).unwrap(), options)
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

/// The parts of a question: texts as they are, pictures and videos by their kind.
fn parts(request: &Request) -> Vec<String> {
    let body = body(request);
    let part = |part: &Value| match part["type"].as_str().unwrap() {
        "text" => part["text"].as_str().unwrap().to_owned(),
        kind => {
            let url = part[kind]["url"].as_str().unwrap();
            url.split(";base64,").next().unwrap().to_owned()
        }
    };
    body["messages"][0]["content"].as_array().unwrap().iter().map(part).collect()
}

/// The first picture of a question, by which the order of the videos is known.
fn first_picture(request: &Request) -> String {
    let body = body(request);
    let parts = body["messages"][0]["content"].as_array().unwrap().clone();
    parts.iter().find_map(|part| part["image_url"]["url"].as_str()).unwrap().to_owned()
}

fn completion(text: &str) -> Reply {
    Reply::new(200, json!({ "choices": [{ "message": { "content": text } }] }).to_string())
}

/// An answer of one word with the probabilities of words.
fn chances(chances: &[(&str, f64)]) -> Reply {
    let top: Vec<Value> =
        chances.iter().map(|(token, p)| json!({ "token": token, "logprob": p.ln() })).collect();
    let place = json!({ "token": chances[0].0, "logprob": chances[0].1.ln(), "top_logprobs": top });
    let choice = json!({ "message": { "content": chances[0].0 }, "logprobs": { "content": [place] } });
    Reply::new(200, json!({ "choices": [choice] }).to_string())
}

#[test]
fn a_comparison_takes_the_probabilities_of_the_levels_in_both_orders() {
    let server = Server::start(|request, _| {
        if body(request)["messages"].as_array().unwrap().len() == 1 {
            return completion("<think>Leaves of the second video are soft.</think>");
        }
        // Whichever video comes second is said to be worse, so the order alone decides.
        chances(&[(" worse", 0.6), (" similar", 0.2), (" blurry", 0.1), (" inferior", 0.1)])
    });
    let judged = compare(&server, &WRITTEN).unwrap();
    assert_eq!((judged.margin, judged.probability), (0.0, 0.5), "a bias for the first cancels");
    assert_eq!(judged.order_agreement, Some(false));
    assert_eq!(judged.rationale.as_deref(), Some("Leaves of the second video are soft."));
    let one = compare(&server, &JudgeOptions { single_order: true, ..PLAIN }).unwrap();
    // (0.6 x 2 + 0.1 x 4) / 0.9
    assert!((one.margin - 1.6 / 0.9).abs() < 1e-9 && one.margin_sd > 0.5, "{one:?}");
    assert_eq!((one.rationale, one.order_agreement), (None, None));

    let seen = server.seen();
    assert_eq!(seen.len(), 4, "two orders and the reasons, then one order");
    let asked = seen.iter().find(|request| body(request)["messages"].as_array().unwrap().len() == 2).unwrap();
    assert_eq!(body(asked)["messages"][1]["content"], W2S_ANSWER_PREFIX);
    let parts = parts(asked);
    assert!(parts[0].starts_with("Now you will receive two videos. The first video:"), "{parts:?}");
    assert_eq!(parts.iter().filter(|part| *part == "data:image/jpeg").count(), 24, "twelve frames each");
    assert!(parts[13].contains("The second video:"), "{parts:?}");
    assert!(parts[26].ends_with("how do you assess the quality of the second video?"), "{parts:?}");
}

#[test]
fn swapping_the_videos_flips_the_sign() {
    let clips = clips();
    let first: std::sync::Arc<std::sync::OnceLock<String>> = std::sync::Arc::default();
    let known = first.clone();
    let server = Server::start(move |request, _| {
        let a_is_first = *known.get_or_init(|| first_picture(request)) == first_picture(request);
        chances(&[(if a_is_first { LEVELS[1] } else { LEVELS[3] }, 1.0)])
    });
    let judge = remote(&server, Media::Frames);
    let [a, b] = ["a.mp4", "b.mp4"].map(|name| watch(&judge, &clips.path().join(name)).unwrap());
    let single = JudgeOptions { single_order: true, ..PLAIN };
    assert_eq!(judge.compare(&a, &b, &single).unwrap().margin, 2.0, "settles which one is the better");
    let (ab, ba) = (judge.compare(&a, &b, &PLAIN).unwrap(), judge.compare(&b, &a, &PLAIN).unwrap());
    assert_eq!((ab.margin, ba.margin, ab.order_agreement), (2.0, -2.0, Some(true)));
    assert_eq!((ab.probability, ba.probability), (1.0, 0.0));
}

#[test]
fn servers_that_know_less_are_asked_in_plainer_words() {
    let server = Server::start(|request, _| {
        let body = body(request);
        if body.get("continue_final_message").is_some() || body.get("logprobs").is_some() {
            return Reply::new(400, r#"{"error":{"message":"unknown parameter"}}"#);
        }
        completion("The quality of the second video is better to the first video.")
    });
    let judged = compare(&server, &JudgeOptions { single_order: true, ..PLAIN }).unwrap();
    assert_eq!(judged.margin, -2.0);
    assert!(
        (judged.margin_sd - 0.577).abs() < 1e-9,
        "only the word is known, so the error is that of a word"
    );
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert!(parts(&seen[2]).last().unwrap().contains("inferior|worse|similar|better|superior"));
    assert_eq!(body(&seen[2])["messages"].as_array().unwrap().len(), 1);

    // A fault of another kind is not hidden, and what was learnt is kept.
    let server = Server::start(|_, _| Reply::new(400, r#"{"error":{"message":"at most 4 images"}}"#));
    let error = compare(&server, &PLAIN).unwrap_err().to_string();
    assert!(error.contains("at most 4 images"), "{error}");
}

#[test]
fn a_score_is_written_and_read() {
    let server =
        Server::start(|_, _| completion("<think>Sharp, but it stutters.</think><answer>3.25</answer>"));
    let judged = score(&server, &WRITTEN).unwrap();
    assert_eq!((judged.score, judged.rationale.as_deref()), (3.25, Some("Sharp, but it stutters.")));
    let parts = parts(&server.seen()[0]);
    assert_eq!(parts.len(), 25);
    assert_eq!((parts[0].as_str(), parts[2].as_str()), ("Now you will receive a video:Frame1: ", "Frame2: "));
    assert_eq!(parts[24], QUALITY_QUESTION);
}

#[test]
fn a_score_without_reasons_is_the_mean_of_the_grades() {
    let server = Server::start(|_, _| chances(&[(" good", 0.5), (" fair", 0.3), ("\n", 0.2)]));
    let judged = score(&server, &PLAIN).unwrap();
    assert!((judged.score - (4.0 * 0.5 + 3.0 * 0.3) / 0.8).abs() < 1e-9, "{judged:?}");
    assert_eq!(judged.rationale, None);
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_a_number() {
    for text in ["I cannot see any of the 12 frames.", "<think>Frame 3", "<answer>great</answer>", ""] {
        let server = Server::start(move |_, _| completion(text));
        assert!(matches!(score(&server, &WRITTEN), Err(Error::Unparsed(_))), "{text:?}");
        let error = compare(&server, &PLAIN).unwrap_err();
        assert!(matches!(error, Error::Unparsed(_)), "{text:?}: {error}");
    }
}

#[test]
fn faults_of_the_server_come_through() {
    let server = Server::start(|_, number| match number {
        0 => Reply::new(429, "").header("Retry-After", "0"),
        _ => completion("<answer>4.00</answer>"),
    });
    assert_eq!(score(&server, &WRITTEN).unwrap().score, 4.0);
    let server = Server::start(|_, _| Reply::new(401, r#"{"error":{"message":"no key"}}"#));
    let error = score(&server, &WRITTEN).unwrap_err();
    assert!(matches!(error, Error::Net(_)) && error.to_string().contains("OPENAI_API_KEY"), "{error}");
}

#[test]
fn a_file_is_sent_as_it_is() {
    let clips = clips();
    let path = clips.path().join("a.mp4");
    let server = Server::start(|_, _| completion("<answer>2.50</answer>"));
    let judge = remote(&server, Media::File);
    let watched = watch(&judge, &path).unwrap();
    assert!(watched.frames_sampled_secs.is_empty());
    assert_eq!(judge.score(&watched, &WRITTEN).unwrap().score, 2.5);
    let sent = body(&server.seen()[0])["messages"][0]["content"][0]["video_url"]["url"].clone();
    let whole = juror_net::chat::data_url("video/mp4", &std::fs::read(&path).unwrap());
    assert!(sent.as_str() == Some(whole.as_str()));
    let window = TimeWindow::new(Some(0.1), None).unwrap();
    let part = WatchOptions { window, ..WatchOptions::default() };
    assert!(judge.watch(&mut Video::open(&path).unwrap(), &part, &|_| ()).is_err());
}

#[test]
fn as_many_frames_are_sent_as_asked_for() {
    let clips = clips();
    let server = Server::start(|_, _| completion("<answer>2.50</answer>"));
    let judge = remote(&server, Media::Frames);
    let window = TimeWindow::new(Some(0.5), Some(0.8)).unwrap();
    let options = WatchOptions { window, frames: Some(3), threads: 1 };
    let watched =
        judge.watch(&mut Video::open(clips.path().join("a.mp4")).unwrap(), &options, &|_| ()).unwrap();
    assert_eq!(watched.frames_sampled_secs.len(), 3);
    assert!(
        watched.frames_sampled_secs.iter().all(|t| (0.49..0.81).contains(t)),
        "{:?}",
        watched.frames_sampled_secs
    );
    judge.score(&watched, &WRITTEN).unwrap();
    assert_eq!(parts(&server.seen()[0]).iter().filter(|part| part.starts_with("data:")).count(), 3);
    assert_eq!((judge.device(), judge.info().name.as_str()), ("remote", "openai:quality"));
}
