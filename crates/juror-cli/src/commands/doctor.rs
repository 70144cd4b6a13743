//! `juror doctor`: what this machine has, what is missing, and how to get it.
//!
//! Codecs are asked of the very libraries that are linked in; nothing is decoded. A missing decoder
//! stops some inputs, a missing encoder some distortions: each is told with the way out.

use std::fmt::Write;

use ffmpeg_next::{codec, decoder, encoder, filter, format, software, util};
use juror::Juror;
use juror::judge::EMBEDDED;
use juror::record::ModelId;
use juror_nn::memory::MachineMemory;
use serde::Serialize;

use crate::args::{DoctorArgs, Format};
use crate::commands::Outcome;
use crate::output::{Destination, json, write_whole};
use crate::settings::Report as ReportSettings;

/// Videos that a judge must be able to read: name, and the decoders that do it.
const DECODERS: &[(&str, &[&str])] = &[
    ("H.264", &["h264"]),
    ("HEVC", &["hevc"]),
    ("VP8", &["vp8", "libvpx"]),
    ("VP9", &["vp9", "libvpx-vp9"]),
    // FFmpeg's own `av1` needs hardware, so it does not count.
    ("AV1", &["libdav1d", "libaom-av1"]),
    ("MPEG-2", &["mpeg2video"]),
    ("MPEG-4", &["mpeg4"]),
    ("ProRes", &["prores"]),
    ("JPEG", &["mjpeg"]),
    ("PNG", &["png"]),
    ("WebP", &["webp"]),
];

/// Encoders behind `juror distort` and training: name, and those of FFmpeg that do it.
const ENCODERS: &[(&str, &[&str])] = &[
    ("H.264", &["libx264"]),
    ("HEVC", &["libx265"]),
    ("VP9", &["libvpx-vp9"]),
    ("AV1", &["libsvtav1", "libaom-av1"]),
    ("MPEG-4", &["mpeg4"]),
    ("JPEG", &["mjpeg"]),
];

/// How to get FFmpeg's libraries with all of these.
const INSTALL_FFMPEG: &str = "on Debian and Ubuntu: sudo apt-get install libavcodec-dev libavformat-dev \
     libavutil-dev libswscale-dev libavfilter-dev libavdevice-dev libavcodec-extra; then build juror again";

/// Everything that the doctor found.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    r#type: &'static str,
    version: &'static str,
    build: &'static str,
    ffmpeg: Ffmpeg,
    cpu: Cpu,
    memory: Memory,
    models: Vec<ModelId>,
    missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct Ffmpeg {
    release: String,
    libavcodec: String,
    libavformat: String,
    libavutil: String,
    libswscale: String,
    libavfilter: String,
    decoders: Vec<Codec>,
    encoders: Vec<Codec>,
}

/// A coding format, and which of FFmpeg's codecs serves it here.
#[derive(Debug, Serialize)]
struct Codec {
    name: &'static str,
    by: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Cpu {
    architecture: &'static str,
    model: Option<String>,
    threads: usize,
    features: Vec<&'static str>,
}

/// MiB; `null` where the system does not say.
#[derive(Debug, Serialize)]
struct Memory {
    total_mib: Option<u64>,
    available_mib: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Missing {
    what: String,
    way_out: String,
}

/// Prints the report.
///
/// # Errors
/// When the format is not one of a report, or the report cannot be written.
pub fn run(args: &DoctorArgs) -> anyhow::Result<Outcome> {
    let report = examine();
    let text = match ReportSettings::new(&args.report, false).format {
        Format::Table => table(&report),
        Format::Json => json(&report, true)? + "\n",
        Format::Jsonl => json(&report, false)? + "\n",
        Format::Csv => anyhow::bail!("`doctor` has no csv form; allowed are table, json and jsonl"),
    };
    write_whole(Destination::open(args.report.output.as_deref())?, text.as_bytes())?;
    Ok(if report.missing.is_empty() { Outcome::All } else { Outcome::Some })
}

fn examine() -> Report {
    let serve = |wanted: &[(&'static str, &'static [&'static str])], has: fn(&str) -> bool| {
        let codec = |(name, names): &(&'static str, &'static [&'static str])| Codec {
            name,
            by: names.iter().copied().find(|name| has(name)),
        };
        wanted.iter().map(codec).collect::<Vec<_>>()
    };
    let decoders = serve(DECODERS, |name| decoder::find_by_name(name).is_some());
    let encoders = serve(ENCODERS, |name| encoder::find_by_name(name).is_some());
    let lacking = |codecs: &[Codec], lost: &str| -> Vec<Missing> {
        let missing = |codec: &Codec| Missing {
            what: format!("{} {lost}", codec.name),
            way_out: INSTALL_FFMPEG.to_owned(),
        };
        codecs.iter().filter(|codec| codec.by.is_none()).map(missing).collect()
    };
    let mut missing = lacking(&decoders, "videos cannot be read");
    missing.extend(lacking(&encoders, "encodes cannot be made by `distort` and training"));
    let mut models = Vec::new();
    for name in EMBEDDED {
        match Juror::open(name) {
            Ok(juror) => models.push(juror.model()),
            Err(error) => missing.push(Missing {
                what: format!("the embedded model {name}: {error}"),
                way_out: "build juror again from a complete checkout".to_owned(),
            }),
        }
    }
    Report {
        schema: "juror/1",
        r#type: "doctor",
        version: juror::VERSION,
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        ffmpeg: Ffmpeg {
            release: release(codec::version() >> 16),
            libavcodec: dotted(codec::version()),
            libavformat: dotted(format::version()),
            libavutil: dotted(util::version()),
            libswscale: dotted(software::scaling::version()),
            libavfilter: dotted(filter::version()),
            decoders,
            encoders,
        },
        cpu: cpu(),
        memory: memory(),
        models,
        missing,
    }
}

/// FFmpeg's release by the major version of its libavcodec.
fn release(libavcodec_major: u32) -> String {
    match libavcodec_major {
        major @ 58..=62 => format!("{}.x", major - 54),
        major => format!("unknown (libavcodec {major})"),
    }
}

/// A library's version number as FFmpeg packs it: 16, 8 and 8 bits.
fn dotted(version: u32) -> String {
    format!("{}.{}.{}", version >> 16, (version >> 8) & 0xff, version & 0xff)
}

fn cpu() -> Cpu {
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| field(&text, "model name"));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Cpu { architecture: std::env::consts::ARCH, model, threads, features: features() }
}

/// Those instruction sets, of the ones juror's arithmetic can use, that this CPU has.
fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let all = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("f16c", std::is_x86_feature_detected!("f16c")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(target_arch = "aarch64")]
    let all = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let all: [(&str, bool); 0] = [];
    all.into_iter().filter_map(|(name, present)| present.then_some(name)).collect()
}

fn memory() -> Memory {
    let memory = MachineMemory::now();
    let mib = |bytes: fn(MachineMemory) -> u64| memory.map(|memory| bytes(memory) >> 20);
    Memory { total_mib: mib(|memory| memory.total), available_mib: mib(|memory| memory.available) }
}

/// The value of the first `name : value` line.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn table(report: &Report) -> String {
    let mut rows: Vec<(&str, String)> = vec![(
        "juror",
        match report.build {
            "debug" => {
                format!("{} (debug build: slow; `cargo build --release` makes the real one)", report.version)
            }
            _ => report.version.to_owned(),
        },
    )];
    let ffmpeg = &report.ffmpeg;
    rows.push((
        "FFmpeg",
        format!(
            "{} (libavcodec {}, libavformat {}, libavutil {}, libswscale {}, libavfilter {})",
            ffmpeg.release,
            ffmpeg.libavcodec,
            ffmpeg.libavformat,
            ffmpeg.libavutil,
            ffmpeg.libswscale,
            ffmpeg.libavfilter
        ),
    ));
    rows.push(("reads", present(&ffmpeg.decoders)));
    rows.push(("encodes", present(&ffmpeg.encoders)));
    let cpu = &report.cpu;
    let model = cpu.model.as_deref().unwrap_or(cpu.architecture);
    rows.push(("CPU", format!("{model}, {} threads, {}", cpu.threads, cpu.features.join(" "))));
    let mib = |mib: Option<u64>| mib.map_or("unknown".to_owned(), |mib| format!("{mib} MiB"));
    let memory = &report.memory;
    rows.push(("memory", format!("{}, {} available", mib(memory.total_mib), mib(memory.available_mib))));
    for model in &report.models {
        rows.push(("models", format!("{} (inside the program), sha256 {}", model.name, model.sha256)));
    }
    if report.missing.is_empty() {
        rows.push(("missing", "nothing".to_owned()));
    }
    for missing in &report.missing {
        rows.push(("missing", format!("{}: {}", missing.what, missing.way_out)));
    }
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{name:<8} {value}");
    }
    text
}

fn present(codecs: &[Codec]) -> String {
    let names: Vec<_> =
        codecs.iter().filter_map(|codec| Some(format!("{} ({})", codec.name, codec.by?))).collect();
    names.join(", ")
}
