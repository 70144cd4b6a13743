//! Any program as a judge, by one line of JSON each way.
//!
//! The program is started once by the shell, in a process group of its own, and asked one video at a time:
//!
//! ```text
//! > {"id":7,"video":"/data/clip.mp4","reference":"/data/source.mp4"}      (or "reference":null)
//! < {"id":7,"score":3.2}                                                  (or {"id":7,"error":"why not"})
//! ```
//!
//! Scores are any finite numbers, where more or less may be better. An `error` is the program's word that it cannot do
//! this video. Anything else (no answer in time, another id, no JSON, an endless line, an end) is a failure of the
//! program: it is killed with all its children and started anew when next asked. What it writes to standard error is kept for the message.
//! Paths that are not UTF-8 cannot stand in JSON; such a video is lent under another name (a symbolic link).

use super::{Failure, Judge, Subject};
use anyhow::ensure;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest line that is read as an answer, bytes.
const LONGEST_LINE: u64 = 1 << 16;
/// How much of standard error is kept, bytes.
const KEPT_OF_STDERR: usize = 400;

/// A program that judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalConfig {
    /// What it is called in labels.
    pub name: String,
    /// What the shell runs.
    pub command: String,
    /// How long an answer may take, the start of the program included.
    #[serde(default = "default_timeout_secs")]
    pub timeout_secs: f64,
    /// Whether it can judge only against a pristine source.
    #[serde(default)]
    pub needs_reference: bool,
    /// Whether its scores are points of the five-point scale.
    #[serde(default)]
    pub on_scale: bool,
}

/// Seconds an answer may take unless told otherwise.
#[must_use]
pub fn default_timeout_secs() -> f64 {
    120.0
}

#[derive(Serialize)]
struct Question<'a> {
    id: u64,
    video: &'a str,
    reference: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    score: Option<f64>,
    error: Option<String>,
}

/// A program as a judge. Videos wait for each other: it is asked one at a time.
pub struct External {
    config: ExternalConfig,
    timeout: Duration,
    running: Mutex<Option<Running>>,
}

impl External {
    /// Prepares the judge; the program starts when it is first asked.
    ///
    /// # Errors
    /// An empty name or command, a time-out that is none.
    pub fn new(config: ExternalConfig) -> anyhow::Result<Self> {
        ensure!(!config.name.trim().is_empty(), "an external judge needs a name");
        ensure!(!config.command.trim().is_empty(), "external judge `{}` has an empty command", config.name);
        let timeout = Duration::try_from_secs_f64(config.timeout_secs).ok().filter(|t| !t.is_zero());
        let Some(timeout) = timeout else {
            anyhow::bail!(
                "external judge `{}`: timeout_secs is {}, a number above 0 is needed",
                config.name,
                config.timeout_secs
            );
        };
        Ok(Self { config, timeout, running: Mutex::new(None) })
    }
}

impl Judge for External {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn identity(&self) -> String {
        format!("external {}", self.config.command)
    }

    fn needs_reference(&self) -> bool {
        self.config.needs_reference
    }

    fn is_on_scale(&self) -> bool {
        self.config.on_scale
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<f64, Failure> {
        let lent = tempfile::tempdir().map_err(|error| Failure::Judge(error.to_string()))?;
        let video = nameable(subject.video, lent.path(), "video")?;
        let reference = subject.reference.map(|path| nameable(path, lent.path(), "reference")).transpose()?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let program = match &mut *running {
            Some(program) => program,
            none => none.insert(Running::start(&self.config.command).map_err(Failure::Judge)?),
        };
        let answer =
            program.ask(&video, reference.as_deref(), self.timeout).and_then(|answer| match answer {
                Answer { score: Some(score), .. } if score.is_finite() => Ok(Ok(score)),
                Answer { error: Some(error), .. } => Ok(Err(Failure::Video(error))),
                _ => Err("its answer has neither a finite `score` nor an `error`".into()),
            });
        match answer {
            Ok(answer) => answer,
            Err(reason) => {
                let words = program.last_words();
                *running = None; // kills it
                Err(Failure::Judge(if words.is_empty() {
                    reason
                } else {
                    format!("{reason}; it said: {words}")
                }))
            }
        }
    }
}

/// An absolute path that JSON can hold.
fn nameable<'a>(path: &'a Path, lent: &Path, role: &str) -> Result<Cow<'a, str>, Failure> {
    let failed = |error: std::io::Error| Failure::Video(error.to_string());
    let absolute = std::path::absolute(path).map_err(failed)?;
    if let Some(text) = absolute.to_str() {
        return Ok(Cow::Owned(text.to_owned()));
    }
    #[cfg(unix)]
    {
        let mut link = lent.join(role);
        if let Some(extension) = path.extension().and_then(|e| e.to_str()) {
            link.set_extension(extension);
        }
        std::os::unix::fs::symlink(&absolute, &link).map_err(failed)?;
        Ok(Cow::Owned(link.to_string_lossy().into_owned()))
    }
    #[cfg(not(unix))]
    Err(Failure::Video(format!("its path is not Unicode ({role} in {})", lent.display())))
}

/// The program at work. Threads read what it writes, so that it can never block on us nor we on it.
struct Running {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Result<String, String>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    next_id: u64,
}

impl Running {
    fn start(command: &str) -> Result<Self, String> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let mut child = shell.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
        let (Some(stdin), Some(stdout), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("it cannot be started: no pipes".into());
        };
        let (send, lines) = sync_channel(1);
        std::thread::spawn(move || read_lines(stdout, &send));
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stderr);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut chunk) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&chunk[..count]);
                let surplus = kept.len().saturating_sub(KEPT_OF_STDERR);
                kept.drain(..surplus);
            }
        });
        Ok(Self { child, stdin, lines, stderr, next_id: 0 })
    }

    fn ask(&mut self, video: &str, reference: Option<&str>, timeout: Duration) -> Result<Answer, String> {
        let deadline = Instant::now() + timeout;
        self.next_id += 1;
        let question = Question { id: self.next_id, video, reference };
        let mut line = serde_json::to_string(&question).map_err(|error| error.to_string())?;
        line.push('\n');
        // A pipe holds more than any path, so that this waits for no one. That nobody reads it any more shows below.
        let _ = self.stdin.write_all(line.as_bytes()).and_then(|()| self.stdin.flush());
        let text = match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line?,
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("no answer in {} s", timeout.as_secs_f64()));
            }
            Err(RecvTimeoutError::Disconnected) => return Err("it ended without an answer".into()),
        };
        let shown: String = text.chars().take(80).collect();
        let answer: Answer = serde_json::from_str(&text)
            .map_err(|_| format!("its answer is not of the form {{\"id\":1,\"score\":3.2}}: {shown}"))?;
        if answer.id != question.id {
            return Err(format!("it answers question {} instead of {}", answer.id, question.id));
        }
        Ok(answer)
    }

    /// The end of what it wrote to standard error, on one line.
    fn last_words(&mut self) -> String {
        // Whatever it writes in the act of dying arrives a moment later.
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends whole lines until the end or until nobody listens; a line too long is the last.
fn read_lines(stdout: impl Read, send: &SyncSender<Result<String, String>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let Ok(read) = stdout.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) else { return };
        if read == 0 {
            return;
        }
        let too_long = read as u64 == LONGEST_LINE && !line.ends_with(b"\n");
        let text = if too_long {
            Err(format!("it writes a line of more than {LONGEST_LINE} bytes"))
        } else {
            Ok(String::from_utf8_lossy(&line).trim().to_owned())
        };
        if send.send(text).is_err() || too_long {
            return;
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn judge(command: &str, timeout_secs: f64) -> External {
        let config = ExternalConfig {
            name: "program".into(),
            command: command.into(),
            timeout_secs,
            needs_reference: false,
            on_scale: false,
        };
        External::new(config).expect("sound")
    }

    fn ask(judge: &External, video: &Path) -> Result<f64, Failure> {
        judge.judge(&Subject { video, reference: None })
    }

    /// Answers with a running number that shows whether it was started anew.
    const COUNTS: &str = r#"n=0; while read -r line; do n=$((n+1)); echo "{\"id\":$n,\"score\":$n}"; done"#;

    #[test]
    fn a_program_answers_line_by_line() {
        let judge = judge(COUNTS, 20.0);
        assert_eq!(ask(&judge, Path::new("a.mp4")), Ok(1.0));
        assert_eq!(ask(&judge, Path::new("name with \"quotes\"\nand lines.mp4")), Ok(2.0));
        let cannot = self::judge(r#"read -r line; echo '{"id":1,"error":"too dark"}'"#, 20.0);
        assert_eq!(ask(&cannot, Path::new("a.mp4")), Err(Failure::Video("too dark".into())));
    }

    #[test]
    fn a_name_that_is_not_utf8_is_lent_under_another() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.mp4"));
        std::fs::write(&path, "12345").expect("written");
        // The size of the file that it was told to read.
        let script = r#"read -r line; f=${line#*video\":\"}; f=${f%%\"*}; echo "{\"id\":1,\"score\":$(wc -c < "$f")}""#;
        assert_eq!(ask(&judge(script, 20.0), &path), Ok(5.0));
    }

    #[test]
    fn whatever_it_does_wrong_is_told_and_it_starts_anew() {
        for (command, told) in [
            ("echo lost >&2; exit 3", "ended"),
            ("sleep 60", "no answer in 0.3 s"),
            ("while :; do sleep 60 & wait; done", "no answer in 0.3 s"),
            ("echo hello", "not of the form"),
            ("read -r line; echo '{\"id\":9,\"score\":1}'", "question 9 instead of 1"),
            ("read -r line; echo '{\"id\":1}'", "neither"),
            ("read -r line; echo '{\"id\":1,\"score\":1e999}'", "not of the form"),
            ("head -c 200000 /dev/zero", "more than 65536 bytes"),
            ("/no/such/program", "ended"),
        ] {
            let judge = judge(command, 0.3);
            for _ in 0..2 {
                let Err(Failure::Judge(reason)) = ask(&judge, Path::new("a.mp4")) else {
                    panic!("{command} gave an answer")
                };
                // A slow machine may see a time-out first.
                assert!(reason.contains(told) || reason.contains("no answer"), "{command}: {reason}");
            }
        }
    }

    #[test]
    fn settings_are_checked() {
        let config = ExternalConfig {
            name: "x".into(),
            command: " ".into(),
            timeout_secs: 1.0,
            needs_reference: false,
            on_scale: false,
        };
        assert!(External::new(config.clone()).is_err());
        let endless = ExternalConfig { command: "cat".into(), timeout_secs: f64::NAN, ..config };
        assert!(External::new(endless).is_err());
    }
}
