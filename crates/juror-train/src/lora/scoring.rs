//! `juror train grpo`: an adapter learns to reason about a video and to write its score (VQAThinker, arXiv 2508.06051).
//!
//! The prompt is the one that scores are asked for by; rollouts are rewarded for form, the bell around the rating, the order with
//! the other videos of a round, and, where the configuration says so, with a bonus where intact videos are judged better than the
//! same ones disturbed (`crate::rewards`). The reference of the KL divergence is the checkpoint without the adapter. Figures: SRCC
//! and PLCC of greedily written scores with the ratings of the validation set, and how many could be read.

use super::config::ScoringConfig;
use super::{Adapted, Card, Report, training_dir};
use crate::grpo::decoder::{DecoderActor, Question};
use crate::grpo::train;
use crate::rewards::{Format, Perturbation, Ranking, Regression, Rewards, TemporalConsistency, Truth};
use anyhow::{Result, ensure};
use juror::evaluation::{RatingColumns, Ratings};
use juror_lmm::answer::Reading;
use juror_lmm::published::VideoTokens;
use juror_nn::collective::Collective;
use juror_nn::rng;
use juror_stats::correlation::{ScorePairs, plcc, srcc};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A video and its rating in points.
#[derive(Clone, Debug, PartialEq)]
pub struct Rated {
    /// The file.
    pub path: PathBuf,
    /// 1 to 5.
    pub points: f64,
}

/// Reads ratings, whose `scale` becomes 1 to 5 points; videos by their whole path, or relative to the file.
///
/// # Errors
/// A file that is no table of ratings; a rating outside `scale`, a video that is not there.
pub fn read_ratings(path: &Path, scale: [f64; 2]) -> Result<Vec<Rated>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let [low, high] = scale;
    let ratings = Ratings::read(path, &RatingColumns::default())?;
    let rated = ratings.rows.iter().map(|row| {
        let (file, mos) = (folder.join(&row.video), row.mos);
        ensure!(
            (low..=high).contains(&mos),
            "{}: the rating {mos} is outside scale = [{low}, {high}]",
            row.video
        );
        ensure!(file.is_file(), "{}: the video {} is not there", path.display(), file.display());
        Ok(Rated { path: file, points: 1.0 + 4.0 * (mos - low) / (high - low) })
    });
    rated.collect()
}

/// Trains an adapter; returns its folder.
///
/// # Errors
/// When ratings, videos or the checkpoint cannot be read, or a step fails; what was saved is used by the next run.
pub fn run(config: &ScoringConfig, world: &dyn Collective) -> Result<PathBuf> {
    let videos = read_ratings(&config.ratings, config.scale)?;
    let validation = config.validation.as_deref().map(|path| read_ratings(path, config.scale));
    let validation = validation.transpose()?.unwrap_or_default();
    let adapted = Adapted::open(&config.student, &config.lora, config.seed)?;
    let longest = config.grpo.max_completion_length;
    let before = figures(&adapted, &validation, longest)?;
    let reference = adapted.policy.unadapted();
    let rewards = &config.rewards;
    let regression = Regression { sigma: rewards.sigma, decimals: rewards.decimals, ..Regression::default() };
    let actor = DecoderActor {
        policy: &adapted.policy,
        sampler: adapted.published.network().decoder(),
        reference: Some(&reference),
        questions: Box::new(|count, rng| draw(config, &adapted, &videos, count, rng)),
        text: Box::new(|tokens| Ok(adapted.published.tokenizer().decode(tokens, false)?)),
        rewards: Rewards::default()
            .with(rewards.ranking, Ranking)
            .with(rewards.regression, regression)
            .with(rewards.format, Format),
        temporal: rewards
            .temporal
            .map(|decision| TemporalConsistency { decision, ..TemporalConsistency::default() }),
        stop_ids: adapted.published.stop_ids().to_vec(),
        prefill: Box::new(|prompts, videos| Ok(adapted.published.prefill_ids(prompts, videos)?)),
        gradient_checkpointing: config.student.gradient_checkpointing,
    };
    let dir = training_dir(&config.run_dir);
    let weights = train("grpo", &config.grpo, &adapted.adapter.params, &actor, config.seed, &dir, world)?;
    let folder = config.run_dir.join("adapter");
    if !world.is_first() {
        return Ok(folder);
    }
    adapted.adapter.params.set(&weights)?;
    let report = Report { count: validation.len(), before, after: figures(&adapted, &validation, longest)? };
    report.write(&config.run_dir)?;
    let data = format!("{} videos of {}", videos.len(), config.ratings.display());
    adapted.write(
        &config.run_dir,
        weights,
        &Card { command: "juror train grpo", config, data, report: &report },
    )
}

/// So many questions about different videos, as long as there are enough.
fn draw(
    config: &ScoringConfig,
    adapted: &Adapted,
    videos: &[Rated],
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Question>> {
    let mut order: Vec<usize> = Vec::with_capacity(count);
    while order.len() < count {
        let wanted = (count - order.len()).min(videos.len());
        order.extend(rand::seq::index::sample(rng, videos.len(), wanted));
    }
    let question = |at: usize| {
        let video = &videos[at];
        let plain = question(adapted, video, adapted.look(&video.path)?)?;
        let mut disturb = rng::stream(rng.random(), &[]);
        if config.rewards.temporal.is_none() {
            return Ok(plain);
        }
        let frames = adapted.frames(&video.path)?;
        let order = Perturbation::draw(&mut disturb).order(frames.count(), &mut disturb);
        let tokens = adapted.published.look(&frames.reordered(&order))?;
        Ok(Question { disturbed: Some(Box::new(question(adapted, video, tokens)?)), ..plain })
    };
    order.into_iter().map(question).collect()
}

fn question(adapted: &Adapted, video: &Rated, tokens: VideoTokens) -> Result<Question> {
    let prompt = adapted.published.score_prompt(&tokens)?;
    Ok(Question {
        id: video.path.display().to_string(),
        ids: adapted.published.tokenizer().encode(&prompt)?,
        videos: vec![tokens],
        truth: Truth { target: video.points, faults: Vec::new() },
        disturbed: None,
    })
}

/// How well `videos` are scored; nothing of none.
fn figures(adapted: &Adapted, videos: &[Rated], longest: usize) -> Result<BTreeMap<String, f64>> {
    let mut figures = BTreeMap::new();
    if videos.is_empty() {
        return Ok(figures);
    }
    let (mut scores, mut ratings) = (Vec::new(), Vec::new());
    for video in videos {
        let scored = adapted.published.score(&adapted.look(&video.path)?, longest, |_| ())?;
        if let Reading::Value(score) = scored.score {
            scores.push(score);
            ratings.push(video.points);
        }
    }
    figures.insert("scores that could be read".to_owned(), scores.len() as f64 / videos.len() as f64);
    if let Ok(pairs) = ScorePairs::new(scores, ratings) {
        figures.extend(srcc(&pairs).map(|value| ("SRCC".to_owned(), value)));
        figures.extend(plcc(&pairs).map(|value| ("PLCC".to_owned(), value)));
    }
    Ok(figures)
}
