//! Judges served elsewhere: what the record says of them, and that the key shows nowhere.

use serde_json::{Value, json};

use crate::server::{Reply, Request, Server};
use crate::support::{folder, juror, run};

const KEY: &str = "sk-very-secret";

fn completion(text: &str) -> Reply {
    Reply::new(200, json!({ "choices": [{ "message": { "content": text } }] }).to_string())
}

/// Runs `juror` with a model served by `server`.
fn ask(server: &Server, arguments: &[&str]) -> crate::support::Ran {
    let clips = folder();
    let url = format!("{}/v1", server.url());
    let mut command = juror();
    command.current_dir(&clips).env("OPENAI_API_KEY", KEY).args(arguments);
    run(command.args(["--format", "json", "--frames", "2", "--model", "openai:quality", "--base-url", &url]))
}

fn healthy(request: &Request) -> Reply {
    let body: Value = serde_json::from_str(&request.body).unwrap();
    match body["messages"].as_array().unwrap().len() {
        1 if request.body.contains("rounded to two decimal places") => {
            completion("<think>Soft edges.</think><answer>2.75</answer>")
        }
        1 => completion("The first one is sharper."),
        _ => completion(" similar to the first video."),
    }
}

#[test]
fn remote_judges_make_the_same_records() {
    let server = Server::start(|request, _| healthy(request));
    let ran = ask(&server, &["score", "good.mp4"]);
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!((&record["score"], &record["rationale"]), (&json!(2.75), &json!("Soft edges.")));
    assert_eq!(record["model"], json!({ "name": "openai:quality", "sha256": "" }));
    assert_eq!(record["device"], "remote");
    assert_eq!(record["video"]["frames_sampled"].as_array().unwrap().len(), 2);

    let ran = ask(&server, &["compare", "good.mp4", "good.mp4"]);
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&record["margin"], &record["prefer"]), (&json!(0.0), &json!("tie")), "{}", ran.stderr);
    assert_eq!(record["rationale"], "The first one is sharper.");
    serde_json::from_value::<juror::Record>(record).unwrap();

    let seen = server.seen();
    assert!(seen.iter().all(|request| request.header("authorization") == Some("Bearer sk-very-secret")));
    assert!(seen.iter().all(|request| !request.body.contains(KEY)));
}

#[test]
fn refusals_and_nonsense_become_error_records_without_the_key() {
    let refuse = format!(r#"{{"error":{{"message":"wrong key {KEY}"}}}}"#);
    let cases = [
        (Reply::new(401, refuse), "OPENAI_API_KEY"),
        (Reply::new(404, ""), "base URL"),
        (Reply::new(500, "broken"), "500"),
        (Reply::new(200, "<html>"), "makes no sense"),
        (completion("I saw 2 frames"), "could not be read"),
    ];
    for (reply, due) in cases {
        let server = Server::start(move |_, _| reply.clone());
        let ran = ask(&server, &["score", "good.mp4", "--retries", "0"]);
        let record: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, &record["type"], &record["kind"]), (2, &json!("error"), &json!("model")));
        assert!(record["message"].as_str().unwrap().contains(due), "{record}");
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(KEY), "{}", ran.stderr);
    }
}
