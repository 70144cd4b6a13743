//! From scores to pairs: one scale, the order that severity gives, and a choice that is balanced over classes and margins.
//!
//! | source of a pair | A and B | level | margin |
//! |---|---|---|---|
//! | `severity` | two severities of one family | by distance: one level apart better/worse, more superior/inferior (C4) | the panel's, made monotone |
//! | `distortion` | two families of one source | the panel's (A5) | the panel's |
//! | `content` | versions of two sources | the panel's (A5) | the panel's |
//! | `real` | two videos as they came | the panel's (A5) | the panel's |
//! | `gmad` | whatever student and a judge differ on most ([`super::mining`]) | the panel's (A5) | the panel's |
//!
//! Everything is drawn by seed from lists in a fixed order, so that equal labels give equal sets.

use super::build::SourcePlan;
use super::config::PairsConfig;
use super::mining;
use super::plan::{Facts, Planned, Role};
use crate::panel::Member;
use crate::panel::scale::{self, Anchors, Contrast, Label, Scored, Seat};
use anyhow::{Result, bail};
use juror_nn::rng;
use juror_stats::levels::Level;
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Severity is known to order a pair even where the panel sees no difference; its margin is at least this, points.
const LEAST_MARGIN: f64 = 0.05;
/// Margins are balanced in bins of this width, points, the last one open.
const MARGIN_BIN: f64 = 0.25;
const MARGIN_BINS: usize = 12;
/// Candidates that are drawn for each wanted pair where there are too many to list.
const DRAWS_PER_PAIR: usize = 12;
/// Share of the severity pairs that may be those which the student gets wrong.
const HARD_SHARE: f64 = 0.5;

/// A labelled video of the set.
#[derive(Clone, Debug)]
pub struct Video {
    /// See [`Planned`].
    pub id: String,
    /// Place among the plans.
    pub source: usize,
    /// Place among the videos of the plan.
    pub place: usize,
    /// What is known of it.
    pub facts: Facts,
    /// Raw score per judge of the panel.
    pub raw: Vec<Option<f64>>,
    /// What the panel says.
    pub label: Label,
}

impl Video {
    /// What was planned.
    #[must_use]
    pub fn planned<'a>(&self, plans: &'a [SourcePlan]) -> &'a Planned {
        &plans[self.source].videos[self.place]
    }
}

/// Everything that has a label.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// In the order of plans.
    pub videos: Vec<Video>,
    /// The panel.
    pub seats: Vec<Seat>,
    /// Judges that do not count, and why.
    pub left_out: Vec<(String, String)>,
    /// Planned videos that could not be made, and why.
    pub failed: Vec<(String, String)>,
}

/// Where the knowledge of a pair comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairSource {
    /// Known severities of one family.
    Severity,
    /// The panel, on two families of one source.
    Distortion,
    /// The panel, on versions of two sources.
    Content,
    /// The panel, on two videos as they came.
    Real,
    /// The panel, where student and judge differ most.
    Gmad,
}

impl PairSource {
    /// All of them, in the order in which the set is filled.
    pub const ALL: [Self; 5] = [Self::Severity, Self::Distortion, Self::Content, Self::Real, Self::Gmad];

    /// The word in the records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Severity => "severity",
            Self::Distortion => "distortion",
            Self::Content => "content",
            Self::Real => "real",
            Self::Gmad => "gmad",
        }
    }
}

/// A chosen pair; `a` and `b` are places among the labelled videos.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The first video.
    pub a: usize,
    /// The second video.
    pub b: usize,
    /// Where its label comes from.
    pub source: PairSource,
    /// Of A over B, points.
    pub margin: f64,
    /// Of A against B.
    pub level: Level,
    /// What the panel says, whatever severity knows.
    pub panel: Contrast,
    /// What the student says, where there is one: its margin in points.
    pub student_margin: Option<f64>,
    /// For gMAD: the judge that was held against the student, and who found the videos different.
    pub mined: Option<String>,
}

impl Pair {
    fn swapped(self) -> Self {
        let panel = Contrast { margin: -self.panel.margin, level: self.panel.level.swapped(), ..self.panel };
        Self {
            a: self.b,
            b: self.a,
            margin: -self.margin,
            level: self.level.swapped(),
            panel,
            student_margin: self.student_margin.map(|margin| -margin),
            ..self
        }
    }

    /// Whether severity knows the order and the student has it wrong.
    #[must_use]
    pub fn is_hard(&self) -> bool {
        self.source == PairSource::Severity && self.student_margin.is_some_and(|m| m * self.margin <= 0.0)
    }
}

/// Brings all scores to one scale.
///
/// # Errors
/// When no judge is on the five-point scale and no ratings give one, or nothing is labelled.
pub fn label(
    config: &PairsConfig,
    plans: &[SourcePlan],
    facts: &HashMap<String, Facts>,
    labels: &HashMap<String, HashMap<String, f64>>,
    panel: &[Member],
) -> Result<Labelled> {
    let (mut videos, mut failed) = (Vec::new(), Vec::new());
    let identities: Vec<String> = panel.iter().map(Member::identity).collect();
    for (source, plan) in plans.iter().enumerate() {
        for (place, planned) in plan.videos.iter().enumerate() {
            let Some(facts) = facts.get(&planned.id) else { continue };
            if let Some(error) = &facts.error {
                failed.push((format!("{} of {}", planned.recipe(), plan.source.name), error.clone()));
                continue;
            }
            let scores = labels.get(&planned.id);
            let raw = identities.iter().map(|id| scores.and_then(|s| s.get(id)).copied()).collect();
            let label = Label { mean: 0.0, variance: None, points: Vec::new() };
            videos.push(Video { id: planned.id.clone(), source, place, facts: facts.clone(), raw, label });
        }
    }
    let original = |video: &Video| video.planned(plans).role == Role::Original;
    // Ids are hashes, so that the first of them are a sample without choice.
    videos.sort_by(|x, y| x.id.cmp(&y.id));
    let ratings = match &config.panel.anchors {
        Some(path) => Some(rated(path, plans, &videos)?),
        None => None,
    };
    let scored: Vec<Scored<'_>> = (videos.iter().enumerate())
        .map(|(index, video)| Scored {
            raw: &video.raw,
            has_reference: !original(video),
            rating: ratings.as_ref().and_then(|ratings| ratings[index]),
        })
        .collect();
    let seats = scale::seats(panel, &scored, ratings.is_some(), config.panel.least_share)?;
    for video in &mut videos {
        match scale::label(&seats, &video.raw) {
            Some(label) => video.label = label,
            None => video.raw.clear(),
        }
    }
    videos.sort_by_key(|video| (video.source, video.place));
    videos.retain(|video| !video.raw.is_empty());
    if videos.is_empty() {
        bail!("no video has a score: every judge failed");
    }
    let left_out =
        seats.iter().filter_map(|seat| Some((seat.name.clone(), seat.left_out.clone()?))).collect();
    Ok(Labelled { videos, seats, left_out, failed })
}

/// Ratings of the videos as they came, by path or file name.
fn rated(path: &std::path::Path, plans: &[SourcePlan], videos: &[Video]) -> Result<Vec<Option<f64>>> {
    let ratings = Anchors::read(path)?;
    let of = |video: &Video| {
        let input = plans[video.source].source.input()?;
        ratings.of(&input.path).filter(|_| video.planned(plans).role == Role::Original)
    };
    Ok(videos.iter().map(of).collect())
}

/// Chooses the pairs of the set, in their final order. `student` has the student's score of every labelled video.
///
/// # Errors
/// When there is no pair to choose.
pub fn choose(
    config: &PairsConfig,
    plans: &[SourcePlan],
    labelled: &Labelled,
    student: Option<&[Option<f64>]>,
) -> Result<Vec<Pair>> {
    let chooser = Chooser { config, plans, labelled, student };
    let wanted = config.choice.pairs;
    let lists = [
        chooser.severity(),
        chooser.distortion(),
        chooser.across(PairSource::Content, wanted),
        chooser.across(PairSource::Real, wanted),
        chooser.gmad(wanted),
    ];
    let shares = &config.choice.shares;
    let shares = [shares.severity, shares.distortion, shares.content, shares.real, shares.gmad];
    let quotas = quotas(wanted, &shares, &lists.each_ref().map(Vec::len));
    let mut chosen: Vec<Pair> = Vec::new();
    let mut taken = HashSet::new();
    // Mined pairs first: another list may hold them, too.
    for list in [0, 4, 1, 2, 3] {
        let mut rng = rng::stream(config.seed, &[3, list as u64]);
        let mut open = lists[list].clone();
        open.retain(|pair| !taken.contains(&(pair.a.min(pair.b), pair.a.max(pair.b))));
        for pair in stratified(open, quotas[list], &mut rng) {
            taken.insert((pair.a.min(pair.b), pair.a.max(pair.b)));
            chosen.push(pair);
        }
    }
    if chosen.is_empty() {
        bail!("there is no pair to choose: {} labelled videos, none comparable", labelled.videos.len());
    }
    chosen.shuffle(&mut rng::stream(config.seed, &[4]));
    Ok(chosen)
}

/// Shares `wanted` out; what a list cannot give, the others give by their shares.
fn quotas<const N: usize>(wanted: usize, shares: &[f64; N], available: &[usize; N]) -> [usize; N] {
    let mut quotas = [0; N];
    loop {
        let left = wanted - quotas.iter().sum::<usize>();
        let open: Vec<usize> = (0..N).filter(|&i| shares[i] > 0.0 && quotas[i] < available[i]).collect();
        let total: f64 = open.iter().map(|&i| shares[i]).sum();
        if left == 0 || open.is_empty() {
            return quotas;
        }
        let before = quotas;
        for &i in &open {
            let more = (left as f64 * shares[i] / total) as usize;
            quotas[i] = (quotas[i] + more).min(available[i]);
        }
        if quotas == before {
            // Less than one each: the first takes it.
            quotas[open[0]] += 1;
        }
    }
}

/// `count` pairs, as evenly as possible over classes (similar, better, superior) and margins, half of each the other way round.
/// Severity pairs that the student gets wrong come first, up to their share.
fn stratified(pairs: Vec<Pair>, count: usize, rng: &mut impl rand::Rng) -> Vec<Pair> {
    let (mut hard, others): (Vec<Pair>, Vec<Pair>) = pairs.into_iter().partition(Pair::is_hard);
    hard.shuffle(rng);
    let most_hard = (HARD_SHARE * count as f64).ceil() as usize;
    let rest_of_hard = hard.split_off(hard.len().min(most_hard));
    let mut strata: BTreeMap<(usize, usize), Vec<Pair>> = BTreeMap::new();
    for pair in others.into_iter().chain(rest_of_hard) {
        let class = (pair.level as usize).abs_diff(2);
        let bin = ((pair.margin.abs() / MARGIN_BIN) as usize).min(MARGIN_BINS - 1);
        strata.entry((class, bin)).or_default().push(pair);
    }
    let mut strata: Vec<Vec<Pair>> = strata.into_values().collect();
    for stratum in &mut strata {
        stratum.shuffle(rng);
    }
    let mut chosen = hard;
    while chosen.len() < count {
        let before = chosen.len();
        for stratum in &mut strata {
            if chosen.len() < count {
                chosen.extend(stratum.pop());
            }
        }
        if chosen.len() == before {
            break;
        }
    }
    // A is better in every second pair of a class.
    let mut turns = [rng.random::<bool>(); 3];
    chosen
        .into_iter()
        .map(|pair| {
            let turn = &mut turns[(pair.level as usize).abs_diff(2)];
            *turn = !*turn;
            let a_is_better =
                if pair.level == Level::Similar { pair.margin > 0.0 } else { pair.level > Level::Similar };
            if a_is_better == *turn { pair } else { pair.swapped() }
        })
        .collect()
}

struct Chooser<'a> {
    config: &'a PairsConfig,
    plans: &'a [SourcePlan],
    labelled: &'a Labelled,
    student: Option<&'a [Option<f64>]>,
}

impl Chooser<'_> {
    fn role(&self, video: usize) -> &Role {
        &self.labelled.videos[video].planned(self.plans).role
    }

    fn is_equal(&self, a: usize, b: usize) -> bool {
        self.labelled.videos[a].facts.sha256 == self.labelled.videos[b].facts.sha256
    }

    /// A pair by the panel's word.
    fn pair(&self, a: usize, b: usize, source: PairSource) -> Pair {
        let videos = &self.labelled.videos;
        let panel = Contrast::of(&videos[a].label, &videos[b].label, self.config.panel.least_sd);
        let student_margin = self.student.and_then(|scores| Some(scores[a]? - scores[b]?));
        Pair { a, b, source, margin: panel.margin, level: panel.level, panel, student_margin, mined: None }
    }

    /// Labelled videos of each source, by place.
    fn by_source(&self) -> Vec<Vec<usize>> {
        let mut by_source = vec![Vec::new(); self.plans.len()];
        for (index, video) in self.labelled.videos.iter().enumerate() {
            by_source[video.source].push(index);
        }
        by_source
    }

    /// All pairs of two severities of one family, the pristine version being severity 0.
    fn severity(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for videos in self.by_source() {
            let pristine = videos.iter().copied().find(|&v| *self.role(v) == Role::Pristine);
            let mut families: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
            for &video in &videos {
                if let Role::Distorted { family, place, .. } = self.role(video) {
                    families.entry(*family).or_default().push((*place, video));
                }
            }
            for (_, mut members) in families {
                members.extend(pristine.map(|video| (0, video)));
                members.sort_unstable();
                let means: Vec<f64> =
                    members.iter().map(|&(_, v)| self.labelled.videos[v].label.mean).collect();
                let monotone = falling(&means);
                for (i, &(milder, a)) in members.iter().enumerate() {
                    for (j, &(stronger, b)) in members.iter().enumerate().skip(i + 1) {
                        if self.is_equal(a, b) {
                            continue; // too mild to change a sample
                        }
                        let level = if stronger - milder > 1 { Level::Superior } else { Level::Better };
                        let margin = (monotone[i] - monotone[j]).max(LEAST_MARGIN);
                        pairs.push(Pair { margin, level, ..self.pair(a, b, PairSource::Severity) });
                    }
                }
            }
        }
        pairs
    }

    /// Pairs of two families of one source.
    fn distortion(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for videos in self.by_source() {
            for (i, &a) in videos.iter().enumerate() {
                for &b in &videos[i + 1..] {
                    if let (Role::Distorted { family: one, .. }, Role::Distorted { family: other, .. }) =
                        (self.role(a), self.role(b))
                        && one != other
                        && !self.is_equal(a, b)
                    {
                        pairs.push(self.pair(a, b, PairSource::Distortion));
                    }
                }
            }
        }
        pairs
    }

    /// Pairs of two sources: as they came (`Real`), or with at least one that was made (`Content`); a draw where there are too many.
    fn across(&self, source: PairSource, wanted: usize) -> Vec<Pair> {
        let is_real = source == PairSource::Real;
        let videos: Vec<usize> = (0..self.labelled.videos.len())
            .filter(|&v| !is_real || *self.role(v) == Role::Original)
            .collect();
        let fits = |a: usize, b: usize| {
            let original = |v: usize| *self.role(v) == Role::Original;
            let (of_a, of_b) = (self.labelled.videos[a].source, self.labelled.videos[b].source);
            of_a != of_b
                && !self.is_equal(a, b)
                && !self.same_group(of_a, of_b)
                && (is_real || !(original(a) && original(b)))
        };
        let possible = videos.len() * videos.len().saturating_sub(1) / 2;
        let draws = wanted.saturating_mul(DRAWS_PER_PAIR);
        let mut pairs = Vec::new();
        if possible <= draws {
            for (i, &a) in videos.iter().enumerate() {
                let partners = videos[i + 1..].iter().filter(|&&b| fits(a, b));
                pairs.extend(partners.map(|&b| self.pair(a, b, source)));
            }
        } else {
            let mut rng = rng::stream(self.config.seed, &[5, u64::from(is_real)]);
            let mut drawn = HashSet::new();
            for _ in 0..draws {
                let (a, b) = (rng.random_range(0..videos.len()), rng.random_range(0..videos.len()));
                let (a, b) = (videos[a.min(b)], videos[a.max(b)]);
                if a != b && fits(a, b) && drawn.insert((a, b)) {
                    pairs.push(self.pair(a, b, source));
                }
            }
        }
        pairs
    }

    /// Whether a table says that both sources have one content.
    fn same_group(&self, a: usize, b: usize) -> bool {
        let group =
            |source: usize| self.plans[source].source.input().and_then(|input| input.group.as_deref());
        group(a).is_some_and(|group_a| group(b) == Some(group_a))
    }

    /// Pairs on which the student and a judge of the panel differ most.
    fn gmad(&self, wanted: usize) -> Vec<Pair> {
        let Some(student) = self.student else { return Vec::new() };
        let mut pairs: BTreeMap<(usize, usize), Pair> = BTreeMap::new();
        for (judge, seat) in self.labelled.seats.iter().enumerate() {
            let points: Vec<Option<f64>> = (self.labelled.videos.iter())
                .map(|video| video.label.points.get(judge).copied().flatten())
                .collect();
            if seat.mapping.is_none() || points == student {
                continue; // left out, or the student itself
            }
            let cells = 2 * self.labelled.seats.len() * self.config.choice.gmad_levels;
            let search = mining::Search {
                levels: self.config.choice.gmad_levels,
                tolerance: self.config.choice.gmad_tolerance,
                pairs_per_level: wanted.div_ceil(cells).max(1),
            };
            let sides = [
                (student, &points[..], format!("student against {}", seat.name)),
                (&points[..], student, format!("{} against student", seat.name)),
            ];
            for (attacker, defender, mined) in sides {
                for (a, b) in search.pairs(attacker, defender) {
                    if !self.is_equal(a, b) {
                        let pair = Pair { mined: Some(mined.clone()), ..self.pair(a, b, PairSource::Gmad) };
                        pairs.entry((a.min(b), a.max(b))).or_insert(pair);
                    }
                }
            }
        }
        pairs.into_values().collect()
    }
}

/// The nearest list that never rises, by least squares: pool adjacent violators (Ayer et al. 1955).
fn falling(values: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for &value in values {
        pools.push((value, 1));
        while let [.., (before, n), (after, m)] = pools[..]
            && after > before
        {
            pools.truncate(pools.len() - 2);
            pools.push(((before * n as f64 + after * m as f64) / (n + m) as f64, n + m));
        }
    }
    pools.into_iter().flat_map(|(value, count)| std::iter::repeat_n(value, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_makes_labels_monotone() {
        assert_eq!(falling(&[4.0, 4.5, 3.0, 3.0, 1.0]), [4.25, 4.25, 3.0, 3.0, 1.0]);
        assert_eq!(falling(&[1.0, 2.0, 3.0]), [2.0, 2.0, 2.0]);
        assert_eq!(falling(&[]), [0.0; 0]);
    }

    #[test]
    fn what_a_list_cannot_give_others_do() {
        assert_eq!(quotas(100, &[0.5, 0.3, 0.2], &[1000, 1000, 1000]), [50, 30, 20]);
        assert_eq!(quotas(100, &[0.5, 0.3, 0.2], &[1000, 0, 1000]), [72, 0, 28]);
        assert_eq!(quotas(100, &[0.5, 0.5, 0.0], &[10, 20, 500]), [10, 20, 0]);
        assert_eq!(quotas(1, &[0.5, 0.5, 0.0], &[10, 20, 500]).iter().sum::<usize>(), 1);
    }

    fn pair(margin: f64, student_margin: Option<f64>) -> Pair {
        let level = Level::of_difference(margin, 0.5).expect("finite");
        let panel = Contrast { margin, sd: 0.5, level, disagreement: None };
        Pair { a: 0, b: 1, source: PairSource::Severity, margin, level, panel, student_margin, mined: None }
    }

    #[test]
    fn classes_and_directions_are_balanced() {
        // Nine tenths are similar, as in any wild set.
        let mut pairs: Vec<Pair> = (0..900).map(|i| pair(f64::from(i % 40) / 100.0, None)).collect();
        pairs.extend((0..50).map(|i| pair(0.6 + f64::from(i % 4) / 10.0, None)));
        pairs.extend((0..50).map(|i| pair(1.1 + f64::from(i) / 25.0, None)));
        let chosen = stratified(pairs, 90, &mut rng::stream(0, &[]));
        let mut counts = [0usize; 5];
        for pair in &chosen {
            counts[pair.level as usize] += 1;
            assert_eq!(pair.margin > 0.0, pair.panel.margin > 0.0, "turned as a whole");
        }
        assert_eq!(chosen.len(), 90);
        assert!(counts[0].abs_diff(counts[4]) <= 1 && counts[1].abs_diff(counts[3]) <= 1, "{counts:?}");
        assert!(counts[2] < 30, "{counts:?}");
    }

    #[test]
    fn what_the_student_gets_wrong_comes_first() {
        let mut pairs: Vec<Pair> = (0..100).map(|_| pair(1.0, Some(0.4))).collect();
        pairs.extend((0..5).map(|_| pair(1.0, Some(-0.2))));
        let chosen = stratified(pairs, 20, &mut rng::stream(1, &[]));
        assert_eq!(chosen.iter().filter(|pair| pair.is_hard()).count(), 5);
    }
}
