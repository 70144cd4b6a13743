//! A chat service in good and bad health.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use juror_net::chat::{Answer, Client, Part, Question, Service, data_url};
use juror_net::http::{Patience, Secret};
use juror_net::{Error, Result};
use serde_json::{Value, json};

use crate::server::{Reply, Request, Server};

const KEY: &str = "sk-very-secret";

fn service(server: &Server) -> Service {
    Service {
        base_url: format!("{}/v1", server.url()),
        model: "quality".to_owned(),
        key: Secret::new("OPENAI_API_KEY", KEY).unwrap(),
        patience: Patience { timeout: Duration::from_secs(20), retries: 2, first_pause: Duration::ZERO },
        concurrency: 2,
    }
}

fn question() -> Question<'static> {
    let parts = vec![Part::text("How good?"), Part::image("data:image/jpeg;base64,AAAA")];
    Question { parts, begun: None, max_tokens: 7, alternatives: 0, seed: 3 }
}

fn completion(text: &str) -> Reply {
    let message = json!({ "role": "assistant", "content": text });
    Reply::new(200, json!({ "choices": [{ "message": message, "finish_reason": "stop" }] }).to_string())
}

fn ask(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> (Result<Answer>, Vec<Request>) {
    let server = Server::start(answer);
    let answered = Client::new(service(&server)).unwrap().ask(&question());
    (answered, server.seen())
}

#[test]
fn a_question_is_sent_as_the_api_wants_it() {
    let (answer, seen) = ask(|_, _| completion("fine"));
    assert_eq!(answer.unwrap().text, "fine");
    let [request] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(request.header("authorization"), Some("Bearer sk-very-secret"));
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let content = json!([
        { "type": "text", "text": "How good?" },
        { "type": "image_url", "image_url": { "url": "data:image/jpeg;base64,AAAA" } },
    ]);
    assert_eq!(
        body,
        json!({ "model": "quality", "messages": [{ "role": "user", "content": content }], "max_tokens": 7,
            "temperature": 0.0, "seed": 3 }),
        "nothing that OpenAI's own service would refuse"
    );
}

#[test]
fn an_answer_that_is_begun_is_gone_on_with_and_its_chances_are_read() {
    let server = Server::start(|_, _| {
        let place = json!({ "token": " worse", "logprob": -0.5, "top_logprobs": [
            { "token": " better", "logprob": -1.0 }, { "token": " worse", "logprob": -0.5 }] });
        let unlisted = json!({ "token": "!", "logprob": -2.0, "top_logprobs": [] });
        let message = json!({ "content": " worse!", "reasoning_content": "soft edges" });
        let logprobs = json!({ "content": [place, unlisted] });
        let choice = json!({ "message": message, "finish_reason": "length", "logprobs": logprobs });
        Reply::new(200, json!({ "choices": [choice] }).to_string())
    });
    let client = Client::new(service(&server)).unwrap();
    let question = Question { begun: Some("It is"), alternatives: 5, ..question() };
    let answer = client.ask(&question).unwrap();
    assert_eq!((answer.text.as_str(), answer.reasoning.as_deref()), (" worse!", Some("soft edges")));
    assert!(answer.cut_off);
    let tokens: Vec<Vec<&str>> = answer
        .tokens
        .iter()
        .map(|place| place.iter().map(|chance| chance.token.as_str()).collect())
        .collect();
    assert_eq!(tokens, [vec![" better", " worse"], vec!["!"]], "the chosen token is always told");
    let body: Value = serde_json::from_str(&server.seen()[0].body).unwrap();
    assert_eq!(body["messages"][1], json!({ "role": "assistant", "content": "It is" }));
    assert_eq!(
        (&body["continue_final_message"], &body["add_generation_prompt"]),
        (&json!(true), &json!(false))
    );
    assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(5)));
}

#[test]
fn a_busy_server_is_asked_again() {
    let (answer, seen) = ask(|_, number| match number {
        0 => Reply::new(429, r#"{"error":{"message":"slow down"}}"#).header("Retry-After", "0"),
        1 => Reply::new(500, "oops"),
        _ => completion("fine"),
    });
    assert_eq!(answer.unwrap().text, "fine");
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let begun = std::time::Instant::now();
    let (answer, _) = ask(|_, number| match number {
        0 => Reply::new(503, "").header("Retry-After", "1"),
        _ => completion("fine"),
    });
    assert!(answer.is_ok());
    assert!(begun.elapsed() >= Duration::from_secs(1), "our own pause would be none at all");
}

#[test]
fn a_server_that_stays_broken_is_told_with_its_words() {
    let (answer, seen) = ask(|_, _| Reply::new(500, r#"{"error":{"message":"out of memory"}}"#));
    let error = answer.unwrap_err();
    assert!(
        matches!(&error, Error::Status { status: 500, message, .. } if message == "out of memory"),
        "{error}"
    );
    assert_eq!(seen.len(), 3, "twice more than once");
}

#[test]
fn a_server_that_hangs_is_left() {
    let server = Server::start(|_, _| completion("late").after(Duration::from_secs(30)));
    let patience = Patience { timeout: Duration::from_millis(200), retries: 1, first_pause: Duration::ZERO };
    let client = Client::new(Service { patience, ..service(&server) }).unwrap();
    let error = client.ask(&question()).unwrap_err();
    assert!(matches!(error, Error::Connection { .. }) && error.to_string().contains("timeout"), "{error}");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    let (answer, seen) = ask(|_, number| match number {
        0 => completion("never seen").cut_after(20),
        _ => completion("fine"),
    });
    assert_eq!((answer.unwrap().text.as_str(), seen.len()), ("fine", 2));
    let (answer, seen) = ask(|_, _| completion("never seen").cut_after(20));
    assert!(matches!(answer, Err(Error::Connection { .. })), "{answer:?}");
    assert_eq!(seen.len(), 3);
}

#[test]
fn nonsense_is_told_as_such() {
    for nonsense in ["<html>", "{}", r#"{"choices":[]}"#, r#"{"choices":[{}]}"#, ""] {
        let (answer, seen) = ask(move |_, _| Reply::new(200, nonsense));
        assert!(matches!(answer, Err(Error::Protocol { .. })), "{nonsense}: {answer:?}");
        assert_eq!(seen.len(), 3, "{nonsense}");
    }
}

#[test]
fn a_refused_key_is_told_without_the_key() {
    let body = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}"}}}}"#);
    let (answer, seen) = ask(move |_, _| Reply::new(401, body.clone()));
    let error = answer.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(
        matches!(error, Error::Forbidden { status: 401, .. }) && told.contains("OPENAI_API_KEY"),
        "{told}"
    );
    assert!(!told.contains(KEY), "{told}");
    assert_eq!(seen.len(), 1, "asking again would not help");

    let server = Server::start(|_, _| Reply::new(401, ""));
    let error = Client::new(Service { key: None, ..service(&server) }).unwrap().ask(&question()).unwrap_err();
    assert!(error.to_string().contains("set OPENAI_API_KEY"), "{error}");
    assert_eq!(server.seen()[0].header("authorization"), None);
}

#[test]
fn the_key_follows_no_redirect() {
    let other = Server::start(|_, _| completion("stolen"));
    let target = other.url();
    let (answer, _) = ask(move |_, _| Reply::new(302, "").header("Location", target.clone()));
    assert!(answer.is_err(), "{answer:?}");
    assert!(other.seen().is_empty());
}

#[test]
fn no_more_requests_than_allowed_are_under_way() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (busy, peak) = (now.clone(), most.clone());
    let server = Server::start(move |_, _| {
        peak.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        busy.fetch_sub(1, Ordering::SeqCst);
        completion("fine")
    });
    let client = Client::new(service(&server)).unwrap();
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6).map(|_| scope.spawn(|| client.ask(&question()))).collect();
        assert!(asking.into_iter().all(|asked| asked.join().unwrap().is_ok()));
    });
    assert_eq!((server.seen().len(), now.load(Ordering::SeqCst)), (6, 0));
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{most:?}");
}

#[test]
fn wrong_settings_are_told_before_anything_is_sent() {
    let server = Server::start(|_, _| completion("never"));
    let wrong = [
        Service { base_url: "localhost".into(), ..service(&server) },
        Service { model: " ".into(), ..service(&server) },
        Service { concurrency: 0, ..service(&server) },
    ];
    for service in wrong {
        assert!(matches!(Client::new(service), Err(Error::Setting { .. })));
    }
    assert!(server.seen().is_empty());
    assert_eq!(data_url("image/png", b"abc"), "data:image/png;base64,YWJj");
}
