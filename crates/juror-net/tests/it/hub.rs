//! A hub in good and bad health, and what the cache holds afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use juror_net::http::{Patience, Secret};
use juror_net::hub::{Cache, Hub, MAIN, Pulled, RepoId};
use juror_net::{Error, Result};
use serde_json::{Value, json};
use sha1::Digest;

use crate::server::{Reply, Request, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_very_secret";
const SHARD: &str = "model-00002-of-00002.safetensors";

/// The files of a repository in two shards; the second one is large enough to break in the middle.
fn files() -> &'static BTreeMap<String, Vec<u8>> {
    static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(make_files);
    &FILES
}

fn make_files() -> BTreeMap<String, Vec<u8>> {
    let index = json!({ "weight_map": { "a": "model-00001-of-00002.safetensors", "b": SHARD } });
    let large = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    [
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", b"{\"version\":1}".to_vec()),
        ("README.md", b"not needed".to_vec()),
        ("pytorch_model.bin", b"not needed".to_vec()),
        ("model.safetensors.index.json", index.to_string().into_bytes()),
        ("model-00001-of-00002.safetensors", b"small shard".to_vec()),
        (SHARD, large),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

/// What the hub says of the files: the large ones by SHA-256, the others by Git's checksum.
fn listing(files: &BTreeMap<String, Vec<u8>>) -> Value {
    let sibling = |(name, bytes): (&String, &Vec<u8>)| {
        let git = hex(&sha1::Sha1::digest([format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat()));
        let mut file = json!({ "rfilename": name, "size": bytes.len(), "blobId": git });
        if name.ends_with(".safetensors") {
            file["lfs"] = json!({ "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134 });
        }
        file
    };
    json!({ "id": "a/b", "sha": COMMIT, "siblings": files.iter().map(sibling).collect::<Vec<_>>() })
}

/// The answer of a healthy hub: small files directly, shards by a redirect to its content network, which knows ranges.
fn healthy(request: &Request) -> Reply {
    let files = files();
    let path = request.target.split('?').next().unwrap();
    if path == "/api/models/a/b/revision/main" {
        return Reply::new(200, listing(files).to_string());
    }
    if let Some(name) = path.strip_prefix(&format!("/a/b/resolve/{COMMIT}/")) {
        return match files.get(name) {
            Some(_) if name.ends_with(".safetensors") => {
                Reply::new(302, "").header("Location", format!("/content/{name}"))
            }
            Some(bytes) => Reply::new(200, bytes.clone()),
            None => Reply::new(404, "Entry not found"),
        };
    }
    match path.strip_prefix("/content/").and_then(|name| files.get(name)) {
        Some(bytes) => ranged(request, bytes),
        None => Reply::new(404, r#"{"error":"Repository not found"}"#),
    }
}

fn ranged(request: &Request, bytes: &[u8]) -> Reply {
    let Some(range) = request.header("range") else { return Reply::new(200, bytes) };
    let from: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
    if from >= bytes.len() {
        return Reply::new(416, "");
    }
    let span = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
    Reply::new(206, &bytes[from..]).header("Content-Range", span)
}

fn is_shard(request: &Request) -> bool {
    request.target == format!("/content/{SHARD}")
}

struct Scene {
    server: Server,
    home: tempfile::TempDir,
}

impl Scene {
    fn new(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self { server: Server::start(answer), home: tempfile::tempdir().unwrap() }
    }

    fn hub(&self, retries: u32) -> Hub {
        let patience = Patience { timeout: Duration::from_secs(20), retries, first_pause: Duration::ZERO };
        let token = Secret::new("HF_TOKEN", TOKEN).unwrap();
        Hub::new(&self.server.url(), token, Cache::at(self.home.path()), patience).unwrap()
    }

    fn pull(&self) -> Result<Pulled> {
        self.pull_patiently(0)
    }

    fn pull_patiently(&self, retries: u32) -> Result<Pulled> {
        self.hub(retries).pull(&repo(), MAIN, &any, &|_| ())
    }

    fn found(&self) -> Option<PathBuf> {
        self.hub(0).cache().find(&repo(), MAIN).unwrap()
    }

    fn blobs(&self) -> PathBuf {
        self.home.path().join("models--a--b/blobs")
    }

    fn incomplete(&self) -> PathBuf {
        self.blobs().join(format!("{}.incomplete", sha256(&files()[SHARD])))
    }

    /// Requests for the large shard's content: what range each asked for.
    fn ranges(&self) -> Vec<Option<String>> {
        let seen = self.server.seen();
        seen.iter().filter(|r| is_shard(r)).map(|r| r.header("range").map(str::to_owned)).collect()
    }
}

/// Takes any model.
fn any(_: &Path) -> Result<(), String> {
    Ok(())
}

fn repo() -> RepoId {
    RepoId::parse("a/b").unwrap()
}

fn assert_complete(folder: &Path) {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let files = files();
    let needed: Vec<&String> =
        files.keys().filter(|name| !["README.md", "pytorch_model.bin"].contains(&name.as_str())).collect();
    assert_eq!(names.iter().collect::<Vec<_>>(), needed);
    for name in needed {
        assert!(fs::read(folder.join(name)).unwrap() == files[name], "{name}");
    }
}

#[test]
fn what_a_judge_needs_is_pulled_and_found_again() {
    let scene = Scene::new(|request, _| healthy(request));
    let told = Mutex::new(Vec::new());
    let note =
        |progress: juror_net::hub::Progress<'_>| told.lock().unwrap().push((progress.done, progress.total));
    let pulled = scene.hub(0).pull(&repo(), MAIN, &any, &note).unwrap();
    assert_complete(&pulled.folder);
    assert_eq!(scene.found(), Some(pulled.folder.clone()));
    assert_eq!(pulled.fetched, pulled.bytes);

    let told = told.into_inner().unwrap();
    assert!(told.windows(2).all(|pair| pair[0].0 <= pair[1].0), "progress never goes back");
    assert_eq!(told.last(), Some(&(pulled.bytes, pulled.bytes)));

    // The layout of huggingface_hub: a ref, links to blobs.
    let place = scene.home.path().join("models--a--b");
    assert_eq!(fs::read_to_string(place.join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(pulled.folder.join(SHARD)).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&files()[SHARD])));

    let [cached] = &scene.hub(0).cache().list().unwrap()[..] else { panic!("one checkpoint is due") };
    assert_eq!((cached.repo.as_str(), cached.commit.as_str()), ("a/b", COMMIT));
    assert_eq!((&cached.revisions[..], cached.bytes), (&["main".to_owned()][..], pulled.bytes));

    let requests = scene.server.seen().len();
    let again = scene.pull().unwrap();
    assert_eq!(
        (again.fetched, scene.server.seen().len()),
        (0, requests + 1),
        "only the list is asked for again"
    );
}

#[test]
fn the_token_goes_to_the_hub_but_not_to_its_content_network() {
    let content = Server::start(|request, _| healthy(request));
    let elsewhere = content.url();
    let scene = Scene::new(move |request, _| {
        let mut reply = healthy(request);
        for (name, value) in &mut reply.headers {
            if name == "Location" {
                *value = format!("{elsewhere}{value}");
            }
        }
        reply
    });
    assert_complete(&scene.pull().unwrap().folder);
    let bearer = format!("Bearer {TOKEN}");
    assert!(scene.server.seen().iter().all(|request| request.header("authorization") == Some(&bearer)));
    assert_eq!(content.seen().len(), 2);
    assert!(content.seen().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let scene = Scene::new(|request, _| match healthy(request) {
        reply if is_shard(request) && request.header("range").is_none() => reply.cut_after(1_234_567),
        reply => reply,
    });
    // Even without retries: bytes that came are progress.
    assert_complete(&scene.pull().unwrap().folder);
    assert_eq!(scene.ranges(), [None, Some("bytes=1234567-".to_owned())]);
    assert!(!scene.incomplete().exists());
}

#[test]
fn a_later_pull_goes_on_where_an_earlier_one_stopped() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let scene = Scene::new(move |request, _| match healthy(request) {
        reply if is_shard(request) && is_broken.load(Ordering::SeqCst) => match request.header("range") {
            None => reply.cut_after(1_000_000),
            Some(_) => Reply::new(403, "signature expired"),
        },
        reply => reply,
    });
    assert!(matches!(scene.pull(), Err(Error::Forbidden { status: 403, .. })));
    assert_eq!(fs::metadata(scene.incomplete()).unwrap().len(), 1_000_000);
    assert_eq!(scene.found(), None, "a half checkpoint has no name");

    broken.store(false, Ordering::SeqCst);
    let pulled = scene.pull().unwrap();
    assert_complete(&pulled.folder);
    assert_eq!(pulled.fetched, 2_000_000);
    let rest = Some("bytes=1000000-".to_owned());
    assert_eq!(scene.ranges(), [None, rest.clone(), rest]);
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let scene = Scene::new(|request, _| match healthy(request) {
        _ if is_shard(request) && request.header("range").is_some() => {
            Reply::new(200, files()[SHARD].clone())
        }
        reply if is_shard(request) => reply.cut_after(500_000),
        reply => reply,
    });
    assert_complete(&scene.pull().unwrap().folder);
    assert_eq!(scene.ranges().len(), 2);
}

#[test]
fn a_server_that_always_starts_anew_and_breaks_off_is_left() {
    let scene = Scene::new(|request, number| match healthy(request) {
        _ if is_shard(request) => Reply::new(200, files()[SHARD].clone()).cut_after(500_000 + number % 2),
        reply => reply,
    });
    assert!(matches!(scene.pull_patiently(2), Err(Error::Connection { .. })));
    assert!((4..=6).contains(&scene.ranges().len()), "{:?}", scene.ranges());
}

#[test]
fn a_range_that_was_not_asked_for_is_not_taken() {
    let scene = Scene::new(|request, _| match healthy(request) {
        reply if is_shard(request) && request.header("range") == Some("bytes=500000-") => {
            Reply::new(206, reply.body).header("Content-Range", "bytes 0-2499999/3000000")
        }
        reply if is_shard(request) && request.header("range").is_none() => reply.cut_after(500_000),
        reply => reply,
    });
    assert!(matches!(scene.pull(), Err(Error::Protocol { .. })));
    assert_eq!(scene.found(), None);
}

#[test]
fn wrong_bytes_never_get_a_name() {
    let scene = Scene::new(|request, _| {
        let mut reply = healthy(request);
        if is_shard(request) {
            reply.body[2_999_999] ^= 1;
        }
        reply
    });
    let error = scene.pull().unwrap_err();
    assert!(matches!(&error, Error::Checksum { file, .. } if file == SHARD), "{error}");
    assert!(!scene.incomplete().exists(), "or every further pull would fail too");
    assert!(!scene.blobs().join(sha256(&files()[SHARD])).exists());
    assert_eq!(scene.found(), None);
    // The small files too: a page of a proxy in place of a configuration.
    let proxied = Scene::new(|request, _| match healthy(request) {
        _ if request.target.ends_with("/config.json") => Reply::new(200, "<>"),
        reply => reply,
    });
    assert!(matches!(proxied.pull(), Err(Error::Checksum { .. })));
}

#[test]
fn bytes_that_went_wrong_in_the_cache_are_found_and_got_anew() {
    let scene = Scene::new(|request, _| healthy(request));
    scene.pull().unwrap();
    let blob = scene.blobs().join(sha256(&files()[SHARD]));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1_234_567] ^= 4;
    fs::write(&blob, &bytes).unwrap();
    let (plain, pull) = (scene.pull().unwrap(), |hub: Hub| hub.pull(&repo(), MAIN, &any, &|_| ()).unwrap());
    assert_eq!((plain.fetched, plain.damaged), (0, 0), "a pull does not read what is there");
    let verified = pull(scene.hub(0).verifying(true));
    assert_eq!((verified.fetched, verified.damaged), (bytes.len() as u64, 1));
    assert_complete(&verified.folder);
    let again = pull(scene.hub(0).verifying(true));
    assert_eq!((again.fetched, again.damaged), (0, 0));
}

#[test]
fn too_many_bytes_do_not_fill_the_disk() {
    let scene = Scene::new(|request, _| {
        let mut reply = healthy(request);
        if is_shard(request) {
            reply.body.extend([0; 1000]);
        }
        reply
    });
    assert_complete(&scene.pull().unwrap().folder);
}

#[test]
fn a_busy_hub_is_asked_again() {
    let scene = Scene::new(|request, number| match number {
        0 => Reply::new(503, "").header("Retry-After", "0"),
        3 => Reply::new(500, "oops"),
        _ => healthy(request),
    });
    assert_complete(&scene.pull_patiently(1).unwrap().folder);
}

#[test]
fn a_closed_repository_says_what_to_do_and_no_token() {
    let body = format!("Invalid username or password: {TOKEN}");
    let scene = Scene::new(move |_, _| Reply::new(401, body.clone()));
    let told = format!("{:?} {}", scene.pull(), scene.pull().unwrap_err());
    assert!(told.contains("HF_TOKEN has no access") && !told.contains(TOKEN), "{told}");
    let patience = Patience { retries: 0, ..Patience::default() };
    let hub = Hub::new(&scene.server.url(), None, Cache::at(scene.home.path()), patience).unwrap();
    let error = hub.pull(&repo(), MAIN, &any, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("set HF_TOKEN"), "{error}");
    assert!(scene.hub(0).cache().list().unwrap().is_empty());
}

#[test]
fn a_revision_that_is_not_there_is_told() {
    let scene = Scene::new(|request, _| healthy(request));
    let error = scene.hub(0).pull(&repo(), "v9", &any, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::Status { status: 404, .. }), "{error}");
    assert!(scene.hub(0).pull(&repo(), "../x", &any, &|_| ()).is_err());
}

#[test]
fn no_weights_are_fetched_of_a_model_that_is_not_accepted() {
    let scene = Scene::new(|request, _| healthy(request));
    let refuse = |folder: &Path| {
        assert_eq!(fs::read(folder.join("config.json")).unwrap(), b"{}");
        Err("an unknown family".to_owned())
    };
    let error = scene.hub(0).pull(&repo(), MAIN, &refuse, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("an unknown family") && error.ends_with("a/b"), "{error}");
    assert!(scene.ranges().is_empty());
    assert_eq!(scene.found(), None);
}

#[test]
fn a_disk_without_room_is_told_before_anything_is_fetched() {
    let scene = Scene::new(|request, _| {
        if !request.target.starts_with("/api/") {
            return healthy(request);
        }
        let mut listing = listing(files());
        for file in listing["siblings"].as_array_mut().unwrap() {
            if file["rfilename"] == SHARD {
                file["lfs"]["size"] = json!(u64::MAX / 2);
            }
        }
        Reply::new(200, listing.to_string())
    });
    let error = scene.pull().unwrap_err();
    assert!(matches!(error, Error::NoRoom { .. }) && error.to_string().contains("HF_HOME"), "{error}");
    assert!(scene.ranges().is_empty());
    assert_eq!(scene.found(), None);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_on_the_way_is_told() {
    let scene = Scene::new(|request, _| healthy(request));
    fs::create_dir_all(scene.blobs()).unwrap();
    // A device that is always full stands where the bytes go.
    std::os::unix::fs::symlink("/dev/full", scene.incomplete()).unwrap();
    let error = scene.pull_patiently(3).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }) && error.to_string().contains("make room"), "{error}");
    assert_eq!(scene.ranges().len(), 1, "asking again would not make room");
    assert_eq!(scene.found(), None);
}

#[test]
fn two_pulls_do_not_write_one_file() {
    let scene = Scene::new(|request, _| healthy(request));
    fs::create_dir_all(scene.blobs()).unwrap();
    let other = fs::File::create(scene.incomplete()).unwrap();
    other.lock().unwrap();
    assert!(matches!(scene.pull(), Err(Error::Busy { .. })));
    drop(other);
    assert_complete(&scene.pull().unwrap().folder);
}

#[test]
fn a_cache_is_what_is_in_it() {
    let home = tempfile::tempdir().unwrap();
    let cache = Cache::at(home.path().join("hub"));
    assert!(cache.list().unwrap().is_empty(), "there is no folder yet");
    // What Python leaves: data sets, version files, a snapshot whose blob is gone.
    let snapshot = cache.root().join("models--a--b/snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(cache.root().join("datasets--a--b/snapshots")).unwrap();
    fs::write(cache.root().join("version.txt"), "1").unwrap();
    fs::write(snapshot.join("config.json"), "{}").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../../blobs/gone", snapshot.join("model.safetensors")).unwrap();
    let [cached] = &cache.list().unwrap()[..] else { panic!("one checkpoint is due") };
    assert_eq!((cached.bytes, cached.revisions.len()), (2, 0));
    assert_eq!(cache.find(&repo(), MAIN).unwrap(), None);
    assert_eq!(cache.find(&repo(), COMMIT).unwrap(), Some(snapshot));
}
