//! `juror train`: processes that train together, what a run leaves, and what goes wrong.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Ran, ffmpeg, juror, names, render, run, text};
use crate::tiny::checkpoint;

/// A configuration of two tiny scenes, written to `folder`; `replace` changes lines by their beginning.
fn config(folder: &Path, run_dir: &str, replace: &[(&str, &str)]) -> PathBuf {
    let mut lines: Vec<String> = format!(
        r#"run_dir = {:?}
seed = 5
[data]
scenes = 2
short_sides = [96]
max_frames = 20
versions = 4
held_out_codecs = ["av1", "vp9", "hevc", "h264", "mpeg4"]
yardstick = "ms-ssim"
[body]
steps = 20
groups = 2
versions = 3
moments = 1
native_places = 2
context_places = 1
dropout = 0.1
learning_rate = 1.0e-4
warmup_steps = 1
weight_decay = 0.05
max_grad_norm = 1.0
ema_decay = 0.5
save_steps = 10
[body.weights]
rank = 1.0
rank_regression = 1.0
score_rank = 1.0
score_regression = 1.0
cross_rank = 0.0
contrast = 1.0
cross_contrast = 0.0
temporal_rank = 1.0
dominant = 1.0
severity = 1.0
aspect = 1.0
[language]
steps = 20
batch = 4
learning_rate = 1.0e-4
warmup_steps = 1
weight_decay = 0.0
max_grad_norm = 1.0
margin_weight = 1.0
order_weight = 1.0
antisymmetry_weight = 1.0
ema_decay = 0.5
save_steps = 10
"#,
        folder.join(run_dir)
    )
    .lines()
    .map(str::to_owned)
    .collect();
    for (begin, line) in replace {
        let found = lines.iter_mut().find(|l| l.starts_with(begin)).unwrap();
        *found = (*line).to_owned();
    }
    let path = folder.join(format!("{run_dir}.toml"));
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn train(method: &str, config: &Path) -> Command {
    let mut command = juror();
    command.args(["train", method, "--config", text(config)]).env("RAYON_NUM_THREADS", "1");
    command
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

fn start(rank: usize, port: &str, mut command: Command) -> Child {
    command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string()).env("WORLD_SIZE", "2");
    command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port).env("JUROR_RANK_TIMEOUT_SECS", "60");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn end(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Both ranks of a training.
fn together(method: &str, config: &Path) -> [Ran; 2] {
    let port = free_port();
    [0, 1].map(|rank| start(rank, &port, train(method, config))).map(end)
}

fn log(stage: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(stage.join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Names of what a stage leaves; those of event files differ from run to run.
fn left_by(stage: &Path) -> Vec<String> {
    names(stage).into_iter().map(|name| name.split(".tfevents.").next().unwrap().to_owned()).collect()
}

/// Whether the means of two logs agree within a thousandth, rounding apart.
fn assert_alike(one: &Path, two: &Path) {
    let (one, two) = (log(one), log(two));
    assert_eq!((one.len(), two.len()), (1, 1));
    let means = one[0]["means"].as_object().unwrap();
    assert_eq!(means.len(), two[0]["means"].as_object().unwrap().len());
    // Pairs of groups of different ranks are not seen.
    for (name, value) in means.iter().filter(|(name, _)| !name.starts_with("cross_")) {
        let (value, other) = (value.as_f64().unwrap(), two[0]["means"][name].as_f64().unwrap());
        assert!((value - other).abs() < 1e-3 * (1.0 + value.abs()), "{name}: {value} {other}");
    }
}

#[test]
fn two_processes_train_what_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, both) = (config(folder.path(), "alone", &[]), config(folder.path(), "both", &[]));
    let one = run(&mut train("sft", &alone));
    assert_eq!(one.code, 0, "{}", one.stderr);
    let [first, second] = together("sft", &both);
    assert_eq!((first.code, second.code), (0, 0), "{}\n{}", first.stderr, second.stderr);
    assert_eq!(first.stdout.trim(), text(&folder.path().join("both/model")));
    assert_eq!((second.stdout.as_str(), second.stderr.as_str()), ("", ""), "only the first talks");
    for stage in ["body/0", "decoder"] {
        let [one, two] = ["alone", "both"].map(|run| folder.path().join(run).join(stage));
        assert_eq!(left_by(&one), left_by(&two));
        assert_alike(&one, &two);
    }

    // By rollouts: two micro-batches of one process are one of each of two.
    let start = folder.path().join("both/model");
    let grpo = |run_dir: &str, micro_batches: usize, more: &str| {
        let plain = std::fs::read_to_string(&alone).unwrap();
        let data = plain.split("[body]").next().unwrap().split_once("[data]").unwrap().1;
        let path = folder.path().join(format!("{run_dir}.toml"));
        let groups = folder.path().join("alone/groups");
        let run_dir = folder.path().join(run_dir);
        let text = format!(
            "run_dir = {run_dir:?}\nseed = 5\nmodel = {start:?}\ngroups_dir = {groups:?}\n[data]{data}\
             [grpo]\nmax_steps = 20\nper_device_train_batch_size = 4\nnum_generations = 2\nloss_type = 'dapo'\n\
             gradient_accumulation_steps = {micro_batches}\nmax_completion_length = 4\nlogging_steps = 20\n\
             learning_rate = 1.0e-4\n[pairs]\nheld_out = 2\n{more}"
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    let one = run(&mut train("mc-grpo", &grpo("grpo-alone", 2, "")));
    assert_eq!(one.code, 0, "{}", one.stderr);
    let [first, second] = together("mc-grpo", &grpo("grpo-both", 1, ""));
    assert_eq!((first.code, second.code), (0, 0), "{}\n{}", first.stderr, second.stderr);
    let [one, two] = ["grpo-alone", "grpo-both"].map(|run| folder.path().join(run).join("decoder"));
    assert_eq!(left_by(&one), left_by(&two));
    let ends = |dir: &Path| {
        let line = &log(dir)[0]["means"];
        ["loss", "reward", "coupling/question"].map(|name| line[name].as_f64().unwrap())
    };
    for (one, two) in ends(&one).into_iter().zip(ends(&two)) {
        assert!((one - two).abs() < 1e-3 * (1.0 + one.abs()), "{one} {two}");
    }

    // Four tokens never have the asked form: all rewards are equal, which is counted.
    let only_form = "[rewards]\npreference = 0.0\nmargin = 0.0\nattribution = 0.0\n";
    let ran = run(&mut train("mc-grpo", &grpo("flat", 1, only_form)));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let flat = &log(&folder.path().join("flat/decoder"))[0]["means"];
    assert_eq!([&flat["frac_reward_zero_std"], &flat["reward"]], [&Value::from(1.0), &Value::from(0.0)]);

    // What people see.
    let page = std::fs::read_to_string(folder.path().join("flat/report.html")).unwrap();
    for shown in ["<h2>decoder</h2>", ">kl</text>", "Sampled rollouts", "Model card", "`juror train mc-grpo`"]
    {
        assert!(page.contains(shown), "{shown}");
    }
    let card = std::fs::read_to_string(folder.path().join("both/model/MODEL_CARD.md")).unwrap();
    for told in
        ["`juror train sft`", "2 processes", "body 20 steps", "Rendered scenes: 2", "seed = 5", "SHA-256"]
    {
        assert!(card.contains(told), "{told}\n{card}");
    }
    let ran = run(juror().args(["train", "report", text(folder.path())]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("<h2>both/body/0</h2>") && page.contains("<h2>flat/decoder</h2>"));
    let ran = run(juror().args(["train", "report", text(&folder.path().join("alone/groups"))]));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no training has logged anything"), "{}", ran.stderr);
}

#[test]
fn a_configuration_that_is_wrong_says_where_and_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let complaint = |replace: &[(&str, &str)]| {
        let config = config(folder.path(), "run", replace);
        let ran = run(&mut train("sft", &config));
        assert_eq!(ran.code, 2);
        assert_eq!(names(folder.path()), ["run.toml"], "nothing was begun");
        ran.stderr.replace(text(&config), "run.toml")
    };
    let unknown = complaint(&[("warmup_steps", "warmup_step = 1")]);
    let beginning = "error: in run.toml: line 19: unknown key `warmup_step`; did you mean `warmup_steps`? The keys here: steps, ";
    assert!(unknown.starts_with(beginning), "{unknown}");
    for (key, line, message) in [
        ("dropout", "dropout = 1.0", "body.dropout is 1, 0 up to 1 (not included) is allowed"),
        ("native_places", "native_places = 500", "body.native_places is 500, at most 49 are there"),
        ("learning_rate", "learning_rate = -1.0", "body.learning_rate is -1, a positive number is needed"),
        ("rank ", "rank = -1.0", "body.weights.rank is -1, a number from 0 is needed"),
        ("versions", "versions = 1", "data.versions is 1, at least 2 are needed"),
        ("held_out", "held_out_codecs = [\"blur\"]", "data.held_out_codecs has `blur`, which is no codec"),
        ("seed", "seed = \"five\"", "line 2: invalid type: string \"five\", expected u64"),
    ] {
        assert_eq!(complaint(&[(key, line)]), format!("error: in run.toml: {message}\n"));
    }
}

#[test]
fn an_adapter_is_trained_on_pairs_and_judges() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = checkpoint("internvl3");
    let [sharp, dark] = ["sharp.mkv", "dark.mkv"].map(|name| folder.path().join(name));
    render("96x64", "-t 0.5 -crf 12", &sharp);
    ffmpeg(&["-i", text(&sharp)], "-vf lutyuv=y=val/2 -c:v libx264 -crf 12", &dark);
    let pairs = folder.path().join("pairs.jsonl");
    std::fs::write(&pairs, "{\"a\":\"sharp.mkv\",\"b\":\"dark.mkv\",\"level\":\"superior\"}\n").unwrap();
    let config = folder.path().join("ranking.toml");
    let write = |steps: &str| {
        let text = format!(
            "run_dir = {:?}\nseed = 1\npairs = {pairs:?}\nvalidation = {pairs:?}\n[student]\ncheckpoint = {:?}\nframes = 2\n\
             [lora]\nr = 2\nlora_alpha = 4.0\ntarget_modules = [\"q_proj\"]\n[training]\n{steps} = 2\n",
            folder.path().join("run"),
            checkpoint.path()
        );
        std::fs::write(&config, text).unwrap();
        run(&mut train("ranking", &config))
    };
    let ran = write("step");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("unknown key `step`; did you mean `steps`?"), "{}", ran.stderr);
    let ran = write("steps");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let adapter = folder.path().join("run/adapter");
    assert_eq!(ran.stdout.trim(), text(&adapter));
    let page = std::fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(page.contains("adapter-training") && page.contains("A LoRA adapter of"), "{page}");
    let ran = run(juror()
        .args(["compare", "--no-rationale", "--frames", "2", "--format", "json", "--model"])
        .args([&adapter, &sharp, &dark]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(record["margin"].is_number(), "{record}");
}

#[test]
fn what_goes_wrong_at_work_costs_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let steps =
        |rate: &str| [("learning_rate", rate.to_owned()), ("save_steps", "save_steps = 1".to_owned())];
    let wild = steps("learning_rate = 1.0e30");
    let wild: Vec<(&str, &str)> = wild.iter().map(|(key, line)| (*key, line.as_str())).collect();
    let ran = run(&mut train("sft", &config(folder.path(), "run", &wild)));
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("error: body: the ") && ran.stderr.contains("is kept"), "{}", ran.stderr);
    let body = folder.path().join("run/body/0");
    assert!(names(&body).iter().any(|name| name.ends_with(".safetensors")), "{:?}", names(&body));

    // A disk that takes the log, but no checkpoint.
    std::fs::remove_dir_all(&body).unwrap();
    let config = config(folder.path(), "run", &[("steps", "steps = 2")]);
    let program = env!("CARGO_BIN_EXE_juror");
    let script = format!("trap '' XFSZ; ulimit -f 512; '{program}' train sft --config '{}'", text(&config));
    let ran = run(Command::new("bash").args(["-c", &script]).env("RAYON_NUM_THREADS", "1"));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let message = "error: body: the checkpoint of step 2 cannot be saved; the last one is kept";
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
    assert!(names(&body).iter().all(|name| !name.ends_with(".safetensors")), "{:?}", names(&body));
    let ran = run(&mut train("sft", &config));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(folder.path().join("run/model/MODEL_CARD.md").exists());
}

#[test]
fn a_judge_improves_stage_by_stage_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let sft = config(folder.path(), "start", &[("steps", "steps = 2")]);
    let ran = run(&mut train("sft", &sft));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let plain = std::fs::read_to_string(&sft).unwrap();
    let (data, training) = plain.split_once("[data]").unwrap().1.split_once("[body]").unwrap();
    let path = folder.path().join("improve.toml");
    let at = |name: &str| folder.path().join(name);
    let one_scene = data.replace("scenes = 2", "scenes = 1");
    let text = format!(
        "run_dir = {:?}\nseed = 5\nmodel = {:?}\ngroups_dir = {:?}\nstages = 2\nmin_gain = -1.0\nstart_share = 0.5\n[data]{data}[pool]{data}\
         [validation]{one_scene}[mining]\nlevels = 2\ntolerance = 2.0\npairs_per_level = 2\n[body]{training}",
        at("improve"),
        at("start/model"),
        at("start/groups")
    );
    std::fs::write(&path, text).unwrap();
    let improve = || {
        let mut command = juror();
        command.args(["improve", "--config", path.to_str().unwrap()]).env("RAYON_NUM_THREADS", "1");
        run(&mut command)
    };
    let ran = improve();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout.trim(), at("improve/model").to_str().unwrap());
    let read = |name: &str| std::fs::read(at("improve").join(name)).unwrap();
    let figures: Value = serde_json::from_slice(&read("figures.json")).unwrap();
    assert_eq!(figures.as_array().unwrap().len(), 3, "of the start and two stages");
    assert!(figures[2]["pairs"].as_u64().unwrap() > 0 && figures[2]["margin_rmse"].is_number(), "{figures}");
    let labels = String::from_utf8(read("stage-1/labels.jsonl")).unwrap();
    assert_eq!(labels.lines().count(), 8, "four versions of two scenes");
    for line in labels.lines() {
        let label: Value = serde_json::from_str(line).unwrap();
        let [student, yardstick, both] =
            ["student", "yardstick", "label"].map(|key| label[key].as_f64().unwrap());
        assert!(both >= student.min(yardstick) && both <= student.max(yardstick), "{line}");
        assert!(label["variance"].as_f64().unwrap() > 0.0, "{line}");
    }
    assert!(!read("stage-1/pairs.jsonl").is_empty());
    assert_ne!(read("stage-1/model/model.safetensors"), read("stage-2/model/model.safetensors"));

    // Killed before the second stage was done.
    let second = read("stage-2/model/model.safetensors");
    for lost in ["stage-2/figures.json", "stage-2/pairs.jsonl", "figures.json"] {
        std::fs::remove_file(at("improve").join(lost)).unwrap();
    }
    for lost in ["stage-2/decoder", "stage-2/model", "model"] {
        std::fs::remove_dir_all(at("improve").join(lost)).unwrap();
    }
    let ran = improve();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(read("stage-2/model/model.safetensors") == second, "the same bits");
    assert!(String::from_utf8(read("model/MODEL_CARD.md")).unwrap().contains("| stage 2 |"));
    assert!(String::from_utf8(read("report.html")).unwrap().contains("<h2>stage-2/body/0</h2>"));
}

#[test]
fn a_process_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "run", &[]);
    // It never comes.
    let mut alone = train("sft", &config);
    alone.env("JUROR_RANK_TIMEOUT_SECS", "1").env("RANK", "0").env("WORLD_SIZE", "2");
    alone.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", free_port());
    let ran = run(&mut alone);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert_eq!(ran.stderr, "error: rank 1 of 2 did not join within 1 s\n");

    // It runs something else.
    let other = super::train::config(folder.path(), "run", &[("seed", "seed = 6")]);
    let other_text = std::fs::read_to_string(&other).unwrap();
    let config = super::train::config(folder.path(), "run", &[]);
    let other = folder.path().join("other.toml");
    std::fs::write(&other, other_text).unwrap();
    let port = free_port();
    let first = start(0, &port, train("sft", &config));
    let stranger = end(start(1, &port, train("sft", &other)));
    assert_eq!(stranger.code, 2);
    assert!(
        stranger.stderr.contains("its version, command, configuration or JUROR_COLLECTIVE is another"),
        "{}",
        stranger.stderr
    );

    // It is killed at work.
    let mut second = start(1, &port, train("sft", &config));
    while !folder.path().join("run/groups").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    second.kill().unwrap();
    second.wait().unwrap();
    let ran = end(first);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("error: rank 1 is missing: "), "{}", ran.stderr);

    let mut wrong = train("sft", &config);
    let ran = run(wrong.env("WORLD_SIZE", "2").env("RANK", "2"));
    assert_eq!(ran.stderr, "error: RANK is `2`, a number from 0, below WORLD_SIZE, is needed\n");
}
