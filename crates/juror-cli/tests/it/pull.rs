//! `juror pull` and `juror models`, from a hub on this machine to a judgement.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::Digest;

use crate::server::{Reply, Request, Server};
use crate::support::{folder, juror, run, text};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A repository that holds the embedded model.
fn files() -> BTreeMap<String, Vec<u8>> {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../juror-lmm/weights/nano");
    let read = |name: &str| (name.to_owned(), fs::read(weights.join(name)).unwrap());
    ["config.json", "model.safetensors", "tokenizer.json"].map(read).into()
}

fn hub(request: &Request) -> Reply {
    let files = files();
    let path = request.target.split('?').next().unwrap();
    if path == "/api/models/someone/nano/revision/main" {
        let sha256 = |bytes: &[u8]| -> String {
            sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let sibling = |(name, bytes): (&String, &Vec<u8>)| json!({ "rfilename": name, "lfs": { "sha256": sha256(bytes), "size": bytes.len() } });
        let siblings: Vec<Value> = files.iter().map(sibling).collect();
        return Reply::new(200, json!({ "sha": COMMIT, "siblings": siblings }).to_string());
    }
    match path.strip_prefix(&format!("/someone/nano/resolve/{COMMIT}/")).and_then(|name| files.get(name)) {
        Some(bytes) => Reply::new(200, bytes.clone()),
        None => Reply::new(401, r#"{"error":"Invalid username or password."}"#),
    }
}

#[test]
fn a_pulled_checkpoint_is_listed_and_judges_by_its_name() {
    let server = Server::start(|request, _| hub(request));
    let (home, clips) = (tempfile::tempdir().unwrap(), folder());
    let juror = || {
        let mut command = juror();
        command.current_dir(&clips).env("HF_HOME", home.path()).env("HF_ENDPOINT", server.url());
        command.env_remove("HF_HUB_CACHE").env_remove("HF_TOKEN");
        command
    };
    let score = |model: &str| {
        run(juror().args(["score", "good.mp4", "--no-rationale", "--format", "json", "--model", model]))
    };
    assert_eq!(score("someone/nano").code, 2, "it is not here yet");

    let ran = run(juror().args(["pull", "someone/nano"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let place = home.path().join("hub/models--someone--nano/snapshots").join(COMMIT);
    assert_eq!(ran.stdout.trim_end(), text(&place));
    assert!(ran.stderr.contains("--model someone/nano"), "{}", ran.stderr);

    let listed = run(juror().args(["models", "--format", "json"]));
    let list: Value = serde_json::from_str(&listed.stdout).unwrap();
    let size: usize = files().values().map(Vec::len).sum();
    assert_eq!(list["models"][0]["name"], "nano");
    assert_eq!(list["models"][0]["sha256"].as_str().unwrap().len(), 64);
    let pulled = &list["models"][1];
    assert_eq!((&pulled["name"], &pulled["family"]), (&json!("someone/nano"), &json!("nano")));
    assert_eq!((&pulled["bytes"], &pulled["revision"]), (&json!(size), &json!(COMMIT)));
    assert_eq!(pulled["complete"], true);
    let table = run(juror().args(["models", "--format", "table"])).stdout;
    assert!(
        table.lines().count() == 2 && table.contains("someone/nano") && table.contains(COMMIT),
        "{table}"
    );

    let (own, got) = (score("nano"), score("someone/nano"));
    let value =
        |ran: &crate::support::Ran| serde_json::from_str::<Value>(&ran.stdout).unwrap()["score"].clone();
    assert_eq!(value(&own), value(&got), "the same weights: {}", got.stderr);
}

#[test]
fn a_pull_that_fails_says_what_to_do() {
    let server = Server::start(|request, _| hub(request));
    let home = tempfile::tempdir().unwrap();
    let pull = |name: &str| {
        let mut command = juror();
        command.env("HF_HOME", home.path()).env("HF_ENDPOINT", server.url()).env_remove("HF_TOKEN");
        run(command.env_remove("HF_HUB_CACHE").args(["pull", name]))
    };
    for (name, due) in
        [("someone/secret", "set HF_TOKEN"), ("nonsense", "vqathinker"), ("../etc", "OWNER/NAME")]
    {
        let ran = pull(name);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{name}");
        assert!(ran.stderr.contains(due), "{name}: {}", ran.stderr);
    }
}

/// A checkpoint of 256 billion weights; on the disk it is one hole.
fn giant() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), r#"{"model_type":"qwen3_vl"}"#).unwrap();
    let count = 256u64 << 30;
    let header =
        json!({ "w": { "dtype": "BF16", "shape": [count], "data_offsets": [0, 2 * count] } }).to_string();
    let path = folder.path().join("model.safetensors");
    let length = (header.len() as u64).to_le_bytes();
    fs::write(&path, [&length[..], header.as_bytes()].concat()).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(8 + header.len() as u64 + 2 * count).unwrap();
    folder
}

#[cfg(target_os = "linux")]
#[test]
fn a_checkpoint_beyond_the_memory_is_told_and_not_loaded() {
    let (giant, clips) = (giant(), folder());
    let path = text(giant.path());
    let ran = run(juror().args(["models", "--need", "--format", "json", path]));
    let list: Value = serde_json::from_str(&ran.stdout).unwrap();
    let need = &list["models"][0]["need"];
    assert_eq!((&need["parameters"], &need["weights_bytes"]), (&json!(256u64 << 30), &json!(1u64 << 40)));
    assert!(list["available_bytes"].as_u64().unwrap() > 0);
    let table = run(juror().args(["models", "--need", "--format", "table", path])).stdout;
    assert!(
        table.contains("memory: f32") && table.contains("int4") && table.contains("available"),
        "{table}"
    );

    let ran =
        run(juror().current_dir(&clips).args(["score", "good.mp4", "--format", "json", "--model", path]));
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &record["kind"]), (2, &json!("out_of_memory")), "{record}");
    assert!(record["message"].as_str().unwrap().contains("GiB"), "{record}");
}

#[test]
fn a_model_that_is_not_here_is_told() {
    let home = tempfile::tempdir().unwrap();
    let mut command = juror();
    let ran = run(command.env("HF_HOME", home.path()).env_remove("HF_HUB_CACHE").args(["models", "a/b"]));
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("a/b"), "{}", ran.stderr);
    let need = run(juror().args(["models", "nano", "--need", "--format", "json"]));
    let list: Value = serde_json::from_str(&need.stdout).unwrap();
    assert_eq!((need.code, &list["models"][0]["need"]), (0, &Value::Null));
}
