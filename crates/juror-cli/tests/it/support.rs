//! Running the program, and media to run it on.

use std::path::Path;
use std::process::Command;

use assert_cmd::assert::OutputAssertExt;
use serde_json::Value;

/// The program, without a terminal.
pub fn juror() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_juror"));
    command.stdin(std::process::Stdio::null()).env_remove("COLUMNS");
    command
}

/// A folder with `good.mp4` in it, a zoom into the Mandelbrot set: 320×180, 0.8 s, quick to judge.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    render("320x180", "-t 0.8 -crf 12", &folder.path().join("good.mp4"));
    folder
}

/// Renders the zoom at another size and length.
pub fn render(size: &str, arguments: &str, output: &Path) {
    let source = format!("mandelbrot=size={size}:rate=30:start_scale=0.02:end_scale=0.002:end_pts=200");
    let arguments = format!("-c:v libx264 -preset ultrafast -pix_fmt yuv420p {arguments}");
    ffmpeg(&["-f", "lavfi", "-i", &source], &arguments, output);
}

/// Runs the `ffmpeg` program: `inputs`, then `arguments` split at blanks, then `output`.
pub fn ffmpeg(inputs: &[&str], arguments: &str, output: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).args(inputs).args(arguments.split_whitespace()).arg(output);
    command.assert().success();
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a run left: exit status, standard output, standard error.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().expect("ended by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Width and height of a PNG file, from its header.
pub fn png_size(path: &Path) -> (u32, u32) {
    let bytes = std::fs::read(path).unwrap();
    assert!(
        bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.ends_with(b"IEND\xaeB`\x82"),
        "{}",
        path.display()
    );
    let number = |from: usize| u32::from_be_bytes(bytes[from..from + 4].try_into().unwrap());
    (number(16), number(20))
}

/// Standard output as JSON lines.
pub fn records(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The names of the files in `folder`, sorted; hidden ones too.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Whether this process may read whatever it likes, which makes tests of permissions void.
pub fn is_root() -> bool {
    let ran = Command::new("id").arg("-u").output().unwrap();
    ran.stdout.trim_ascii() == b"0"
}

/// Replaces in snapshots what differs from machine to machine and run to run.
pub fn filters(folder: &Path) -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&regex_of(text(folder)), "[FOLDER]");
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[SHA256]");
    settings.add_filter(concat!("juror ", env!("CARGO_PKG_VERSION")), "juror [VERSION]");
    settings.add_filter(r#""version":"[^"]*""#, r#""version":"[VERSION]""#);
    settings.add_filter(r#""timings":\{[^}]*\}"#, r#""timings":[TIMINGS]"#);
    settings.bind_to_scope()
}

/// A pattern that matches `text` itself.
fn regex_of(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_alphanumeric() || c == '/' { c.to_string() } else { format!("\\{c}") })
        .collect()
}
