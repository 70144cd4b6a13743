//! What every conversation with a server shares: time limits, retries with back-off, secrets that never show.
//!
//! Tried again are lost connections, answers that break off, time limits, and the statuses that speak of a passing state
//! (408, 425, 429, 500, 502, 503, 504). The pause doubles from try to try; where the server asks for a longer one in
//! seconds (`Retry-After`) it gets it, up to a minute. Dates in `Retry-After` are left out: no inference server sends
//! them. Proxies are taken from the environment (`HTTPS_PROXY` and so on), as `ureq` does, but not for servers on this
//! machine.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Result};

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Of a server's words, this many characters are passed on.
const MESSAGE_CHARS: usize = 300;

/// A key or token. It shows in no message: [`Self::redact`] takes it out of what a server says too.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The value of an environment variable; `None` where it is unset or empty.
    ///
    /// # Errors
    /// A value with characters that no header can hold. The message does not show it.
    pub fn from_env(variable: &'static str) -> Result<Option<Self>> {
        match std::env::var_os(variable) {
            None => Ok(None),
            Some(value) => Self::new(variable, &value.to_string_lossy()),
        }
    }

    /// A secret by its value; `None` where that is blank. `variable` is for the message.
    ///
    /// # Errors
    /// A value with characters that no header can hold. The message does not show it.
    pub fn new(variable: &'static str, value: &str) -> Result<Option<Self>> {
        let value = value.trim();
        if value.bytes().any(|byte| !byte.is_ascii_graphic()) {
            let allowed = "only visible ASCII characters are allowed".into();
            return Err(Error::Setting { what: variable, value: "(not shown)".into(), allowed });
        }
        Ok((!value.is_empty()).then(|| Self(value.to_owned())))
    }

    /// The `Authorization` header that carries it.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// `text` without the secret.
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([key])")
    }
}

/// How long to wait for a server, and how often to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The time limit of one answer; for downloads, of silence.
    pub timeout: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Before the second try; doubled before each further one.
    pub first_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(300), retries: 4, first_pause: Duration::from_secs(1) }
    }
}

/// A try that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) then: Then,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Trying again would not help.
    GiveUp,
    /// Try again, after this time at the least.
    Retry(Option<Duration>),
    /// Some of the work was done: try again with all patience anew.
    Continue,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, then: Then::GiveUp }
    }
}

impl Patience {
    /// Runs `work` until it succeeds, fails for good, or patience ends.
    pub(crate) fn run<T>(&self, mut work: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        let mut tried = 0;
        loop {
            let Failure { error, then } = match work() {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let asked_for = match then {
                Then::GiveUp => return Err(error),
                Then::Continue => {
                    tried = 0;
                    std::thread::sleep(self.first_pause.min(LONGEST_PAUSE));
                    continue;
                }
                Then::Retry(_) if tried == self.retries => return Err(error),
                Then::Retry(pause) => pause,
            };
            let own = self.first_pause.saturating_mul(1 << tried.min(16));
            let pause = asked_for.unwrap_or(own).min(LONGEST_PAUSE);
            tracing::debug!("{error}; trying again in {pause:?}");
            std::thread::sleep(pause);
            tried += 1;
        }
    }
}

/// Settings that all conversations with the server at `url` share.
pub(crate) fn settings(url: &str) -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    let settings = ureq::Agent::config_builder();
    let settings = if is_this_machine(url) { settings.proxy(None) } else { settings };
    settings
        .http_status_as_error(false)
        .user_agent(concat!("juror/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(20)))
}

/// Whether an address names this machine, to which no proxy leads.
fn is_this_machine(url: &str) -> bool {
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let bare = host.trim_start_matches('[').split(']').next().unwrap_or_default();
    let name = if host.starts_with('[') { bare } else { host.split(':').next().unwrap_or_default() };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The failure that a connection met.
pub(crate) fn lost(error: &ureq::Error, url: &str) -> Failure {
    let then = match error {
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::Protocol(_)
        | ureq::Error::ConnectionFailed
        | ureq::Error::BodyStalled => Then::Retry(None),
        _ => Then::GiveUp,
    };
    Failure { error: Error::Connection { reason: error.to_string(), url: url.to_owned() }, then }
}

/// The failure that a status other than success is; `secret` is taken out of the server's words.
pub(crate) fn refused(
    response: &mut ureq::http::Response<ureq::Body>,
    secret: Option<&Secret>,
    url: &str,
) -> Failure {
    let status = response.status();
    let pause = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let then = match status.as_u16() {
        408 | 425 | 429 | 500 | 502 | 503 | 504 => Then::Retry(pause),
        _ => Then::GiveUp,
    };
    // An error page that breaks off is still an error page.
    let text = response.body_mut().with_config().limit(1 << 16).lossy_utf8(true).read_to_string();
    let message = words(&text.unwrap_or_default())
        .or_else(|| status.canonical_reason().map(str::to_owned))
        .unwrap_or_else(|| "no reason given".to_owned());
    let message = secret.map_or_else(|| message.clone(), |secret| secret.redact(&message));
    Failure { error: Error::Status { status: status.as_u16(), message, url: url.to_owned() }, then }
}

/// What a server says in an error page: the message of its JSON, else the text itself, shortened.
fn words(text: &str) -> Option<String> {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let message = json.as_ref().and_then(|json| {
        let places =
            [json.pointer("/error/message"), json.get("error"), json.get("message"), json.get("detail")];
        places.into_iter().flatten().find_map(|place| place.as_str())
    });
    let message = message.unwrap_or(text);
    let line: Vec<&str> = message.split_whitespace().collect();
    let line: String = line.join(" ").chars().take(MESSAGE_CHARS).collect();
    (!line.is_empty()).then_some(line)
}

/// Checks a base address: `http` or `https`, a host, no user, no question; gives it without a slash at its end.
pub(crate) fn base_url(what: &'static str, url: &str) -> Result<String> {
    let wrong = |allowed: &str| {
        // What stands before an `@` may be a password.
        let shown = url.rsplit_once('@').map_or(url, |(_, host)| host);
        Error::Setting { what, value: shown.to_owned(), allowed: allowed.to_owned() }
    };
    let trimmed = url.trim().trim_end_matches('/');
    let rest = trimmed
        .strip_prefix("http://")
        .or_else(|| trimmed.strip_prefix("https://"))
        .ok_or_else(|| wrong("an address that starts with http:// or https:// is allowed"))?;
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return Err(wrong("no user and password are allowed in an address; keys go into the environment"));
    }
    if host.is_empty() || rest.contains(['?', '#']) || rest.contains(|c: char| c.is_whitespace()) {
        return Err(wrong("a host and a path are allowed, no blank, `?` or `#`"));
    }
    Ok(trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(then: Then) -> Failure {
        Failure { error: Error::Connection { reason: "cut".into(), url: "x".into() }, then }
    }

    #[test]
    fn patience_ends_and_progress_renews_it() {
        let patience = Patience { retries: 2, first_pause: Duration::ZERO, ..Patience::default() };
        let count = |outcomes: &[Then]| {
            let mut tries = 0;
            let done = patience.run(|| {
                tries += 1;
                outcomes.get(tries - 1).map_or(Ok(()), |then| Err(failing(*then)))
            });
            (tries, done.is_ok())
        };
        let retry = Then::Retry(Some(Duration::ZERO));
        assert_eq!(count(&[retry, retry]), (3, true));
        assert_eq!(count(&[retry, retry, retry]), (3, false));
        assert_eq!(count(&[Then::GiveUp]), (1, false));
        assert_eq!(count(&[retry, retry, Then::Continue, retry, retry]), (6, true));
        assert_eq!(count(&[retry, retry, Then::Continue, retry, retry, retry]), (6, false));
    }

    #[test]
    fn secrets_never_show() {
        let secret = Secret::new("KEY", " sk-123 \n").unwrap().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret([key])");
        assert_eq!(secret.redact("wrong key: sk-123!"), "wrong key: [key]!");
        assert!(Secret::new("KEY", "  ").unwrap().is_none());
        let error = Secret::new("KEY", "sk 123").unwrap_err().to_string();
        assert!(error.contains("KEY") && !error.contains("123"), "{error}");
    }

    #[test]
    fn addresses_are_checked() {
        assert_eq!(base_url("base URL", "http://localhost:8000/v1/").unwrap(), "http://localhost:8000/v1");
        for wrong in ["localhost:8000", "ftp://a", "http://", "http://a/v1?key=2", "http://a b/"] {
            assert!(base_url("base URL", wrong).is_err(), "{wrong}");
        }
        let error = base_url("base URL", "https://me:secret@host/v1").unwrap_err().to_string();
        assert!(error.contains("host/v1") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn this_machine_has_many_names() {
        for url in
            ["http://localhost:8000/v1", "http://127.0.0.1", "https://[::1]:8000/v1", "http://127.8.0.1:1"]
        {
            assert!(is_this_machine(url), "{url}");
        }
        for url in ["https://huggingface.co", "http://localhost.evil.org/", "http://10.0.0.1:8000/v1", "x"] {
            assert!(!is_this_machine(url), "{url}");
        }
    }

    #[test]
    fn the_servers_words_are_found_wherever_they_stand() {
        assert_eq!(words(r#"{"error":{"message":"too\nlong"}}"#).as_deref(), Some("too long"));
        assert_eq!(words(r#"{"error":"gated"}"#).as_deref(), Some("gated"));
        assert_eq!(words(r#"{"detail":"no such route"}"#).as_deref(), Some("no such route"));
        assert_eq!(words("<html> busy </html>").as_deref(), Some("<html> busy </html>"));
        assert_eq!(words(" \n").as_deref(), None);
    }
}
