//! Progress on standard error: one bar over all inputs, with rate and time left, only on a terminal.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::output::complain;

/// Between two drawings.
const TICK: Duration = Duration::from_millis(200);
/// Steps of the bar per input.
const STEPS: u64 = 1000;

/// A bar over a known number of inputs.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// Whether a text is being written in place of the bar.
    speaking: AtomicBool,
}

impl Progress {
    /// A bar over `inputs`; it draws nothing when `quiet` or without a terminal.
    pub fn new(inputs: usize, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(inputs as u64 * STEPS), target);
        let style = ProgressStyle::with_template("{bar:24} {percent:>3} % {rate} {eta:>4} left  {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rate", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                let per_minute = state.per_sec() * 60.0 / STEPS as f64;
                // The bar has no use for a failure to write into it.
                let _ = write!(text, "{per_minute:.1}/min");
            });
        bar.set_style(style);
        bar.enable_steady_tick(TICK);
        Self { bar, speaking: AtomicBool::new(false) }
    }

    /// Shows a piece of a text that is being written, on a terminal, in place of the bar.
    pub fn say(&self, text: &str) {
        if text.is_empty() || (self.bar.is_hidden() && !self.speaking.load(Ordering::Relaxed)) {
            return;
        }
        let mut stderr = std::io::stderr().lock();
        if !self.speaking.swap(true, Ordering::Relaxed) {
            self.bar.set_draw_target(ProgressDrawTarget::hidden());
            // The line of the bar is wiped.
            let _ = stderr.write_all(b"\r\x1b[2K");
        }
        // What cannot be shown is in the record all the same.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    /// Puts the bar back where a text was written.
    pub fn end_speech(&self) {
        if self.speaking.swap(false, Ordering::Relaxed) {
            let _ = std::io::stderr().write_all(b"\n");
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Names the input at work.
    pub fn begin(&self, label: String) {
        self.bar.set_message(label);
    }

    /// Places the bar at `fraction` (0..1) of the input after `done` whole ones.
    pub fn at(&self, done: usize, fraction: f64) {
        self.bar.set_position(done as u64 * STEPS + (fraction.clamp(0.0, 1.0) * STEPS as f64) as u64);
    }

    /// Runs `write` while the bar is out of the way.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar over bytes, of which the total may still grow.
#[derive(Debug)]
pub struct Bytes {
    bar: ProgressBar,
}

impl Bytes {
    /// An empty bar; it draws nothing when `quiet` or without a terminal.
    pub fn new(quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = "{bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta:>4} left  {wide_msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// Places the bar; `label` names what is at work.
    pub fn at(&self, done: u64, total: u64, label: &str) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        if self.bar.message() != label {
            self.bar.set_message(label.to_owned());
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A sign of life for work of unknown length.
#[derive(Debug)]
pub struct Waiting {
    spinner: ProgressBar,
}

impl Waiting {
    /// Shows `label` and the time spent; nothing when `quiet` or without a terminal.
    pub fn new(label: String, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let spinner = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{spinner} {elapsed}  {wide_msg}");
        spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        spinner.set_message(label);
        spinner.enable_steady_tick(TICK);
        Self { spinner }
    }

    /// Names what is at work now.
    pub fn label(&self, label: String) {
        self.spinner.set_message(label);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
    }
}

/// A bar for each of several stages, one after the other. What a stage took is told when the next begins.
#[derive(Debug)]
pub struct Stages {
    quiet: bool,
    current: Mutex<Option<Stage>>,
}

#[derive(Debug)]
struct Stage {
    name: &'static str,
    bar: ProgressBar,
    begin: Instant,
    done_before: u64,
}

impl Stages {
    /// No stage yet; `quiet` tells nothing at all.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, current: Mutex::new(None) }
    }

    fn current(&self) -> MutexGuard<'_, Option<Stage>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the last stage.
    pub fn finish(&self) {
        let Some(stage) = self.current().take() else { return };
        let done = stage.bar.position() - stage.done_before;
        stage.bar.finish_and_clear();
        if !self.quiet && done > 0 {
            let secs = stage.begin.elapsed().as_secs_f64();
            complain(&format!(
                "{}: {done} in {secs:.1} s ({:.2}/s)",
                stage.name,
                done as f64 / secs.max(1e-3)
            ));
        }
    }
}

impl juror_train::pairs::Progress for Stages {
    fn begin(&self, stage: &'static str, total: u64, done: u64) {
        self.finish();
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_position(done).with_prefix(stage);
        let style = "{prefix:8} {bar:24} {pos}/{len} {per_sec} {eta:>4} left";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(TICK);
        // What earlier runs did is not this run's speed.
        bar.reset_eta();
        *self.current() = Some(Stage { name: stage, bar, begin: Instant::now(), done_before: done });
    }

    fn advance(&self, units: u64) {
        if let Some(stage) = &*self.current() {
            stage.bar.inc(units);
        }
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            let tell = || complain(&format!("note: {text}"));
            match &*self.current() {
                Some(stage) => stage.bar.suspend(tell),
                None => tell(),
            }
        }
    }
}
