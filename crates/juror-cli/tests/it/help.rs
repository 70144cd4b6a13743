//! Help, man page and completions: one definition behind all three.

use crate::support::{filters, juror, run};

const COMMANDS: [&str; 15] = [
    "compare",
    "score",
    "rank",
    "eval",
    "distort",
    "pairs",
    "label",
    "train",
    "improve",
    "pull",
    "models",
    "bench",
    "doctor",
    "completions",
    "man",
];

fn help_of(arguments: &[&str]) -> String {
    let ran = run(juror().args(arguments));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
    ran.stdout
}

#[test]
fn help_is_as_written() {
    let folder = tempfile::tempdir().unwrap();
    let _filters = filters(folder.path());
    insta::assert_snapshot!("help", help_of(&["--help"]));
    for command in COMMANDS {
        insta::assert_snapshot!(format!("help_{command}"), help_of(&[command, "-h"]));
    }
}

#[test]
fn man_pages_name_every_option_of_the_help() {
    for command in COMMANDS {
        let page = help_of(&["man", command]).replace("\\-", "-").replace("\\fB", "");
        for word in help_of(&[command, "-h"]).split_whitespace() {
            let option = word.trim_end_matches([',', '.']);
            if option.starts_with("--") && option.chars().skip(2).all(|c| c == '-' || c.is_ascii_lowercase())
            {
                assert!(page.contains(option), "{option} is missing in the page of {command}");
            }
        }
    }
    assert!(help_of(&["man"]).contains("compare"));
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = help_of(&["completions", shell]);
        assert!(script.contains("compare") && script.contains("no-rationale"), "{shell}");
    }
}

#[test]
fn wrong_usage_says_what_is_allowed_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let _filters = filters(folder.path());
    let cases: &[&[&str]] = &[
        &[],
        &["compare"],
        &["compare", "a.mp4"],
        &["score"],
        &["score", "a.mp4", "--device", "cuda:0"],
        &["score", "a.mp4", "--format", "xml"],
        &["score", "a.mp4", "--threads", "0"],
        &["score", "a.mp4", "--frames", "none"],
        &["score", "a.mp4", "--start", "1:75"],
        &["score", "a.mp4", "--start", "5", "--end", "2"],
        &["score", "a.mp4", "--segment-seconds", "0"],
        &["score", "--list", "no-such-list.txt"],
        &["score", "a.mp4", "--model", "openai:name"],
        &["score", "a.mp4", "--base-url", "http://localhost:8000/v1"],
        &["score", "a.mp4", "--timeout", "0"],
        &["pull", "nonsense"],
        &["models", "--format", "csv"],
        &["distort", "a.mp4", "b.mp4"],
        &["distort", "a.mp4", "b.mp4", "--kind", "sparkle", "--level", "3"],
        &["distort", "a.mp4", "b.mp4", "--kind", "h264", "--level", "9"],
        &["distort", "a.mp4", "b.mp4", "--chain", "h264:3,stutter"],
        &["doctor", "--format", "csv"],
        &["man", "judge"],
    ];
    let mut text = String::new();
    for arguments in cases {
        let ran = run(juror().args(*arguments));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        text += &format!("$ juror {}\n{}\n", arguments.join(" "), ran.stderr);
    }
    insta::assert_snapshot!(text);
}
