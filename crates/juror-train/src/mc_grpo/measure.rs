//! How good a decoder's reasons and margins are on pairs it never saw: greedy rollouts of both orders.

use super::actor::{NanoActor, Speech, Writing, groups};
use super::config::RewardConfig;
use super::pairs::Pair;
use crate::decoder::Library;
use crate::rewards::{Attribution, Format, Preference, Reward, mean};
use anyhow::Result;
use juror_lmm::nano::Decoder;
use juror_nn::sampling::Sampling;
use juror_stats::correlation::{ScorePairs, srcc};
use juror_stats::{Bootstrap, Interval, percentile_interval};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Prompts written at a time.
const BATCH: usize = 64;

/// Figures that are told.
const FIGURES: usize = 8;

/// Figures over pairs; margins are of both orders, `(m_AB - m_BA) / 2`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Figures {
    /// Pairs.
    pub pairs: usize,
    /// Rank correlation of the margin behind the reasons with the target.
    pub margin_srcc: Option<f64>,
    /// Its mean absolute error, in points.
    pub margin_error: f64,
    /// Mean of `|m_AB + m_BA|`, in points.
    pub order_gap: f64,
    /// Rank correlation of the margin right after the question.
    pub question_srcc: Option<f64>,
    /// Its mean absolute error, in points.
    pub question_error: f64,
    /// Share of texts in the asked form.
    pub format: f64,
    /// Share of texts that take the right side.
    pub preference: f64,
    /// Mean F1 of the distortions named.
    pub attribution: f64,
}

impl Figures {
    /// All figures but the number of pairs, as people read them.
    #[must_use]
    pub fn named(&self) -> [(&'static str, Option<f64>); FIGURES] {
        [
            ("margin behind the reasons, SRCC", self.margin_srcc),
            ("margin behind the reasons, mean error (points)", Some(self.margin_error)),
            ("gap between the orders (points)", Some(self.order_gap)),
            ("margin after the question, SRCC", self.question_srcc),
            ("margin after the question, mean error (points)", Some(self.question_error)),
            ("right form", Some(self.format)),
            ("right side", Some(self.preference)),
            ("distortions, F1", Some(self.attribution)),
        ]
    }
}

/// What greedy rollouts of some pairs came to, pair by pair.
pub(super) struct Outcome {
    targets: Vec<f64>,
    behind: Vec<f64>,
    questions: Vec<f64>,
    /// `|m_AB + m_BA|`.
    gaps: Vec<f64>,
    format: Vec<f64>,
    preference: Vec<f64>,
    attribution: Vec<f64>,
    /// The places of the pairs of each content (that of A).
    contents: Vec<Vec<usize>>,
}

impl Outcome {
    /// Lets `decoder` write about `prompts`, pairs each followed by its mirror.
    ///
    /// # Errors
    /// When tensor work fails.
    pub(super) fn of(
        library: &Library<'_>,
        decoder: &Decoder,
        speech: &Speech,
        prompts: &[Pair],
        rewards: &RewardConfig,
        max_tokens: usize,
    ) -> Result<Self> {
        let writing = Writing { sampling: &Sampling::greedy(), rollouts: 1, max_tokens, seed: 0, first: 0 };
        let (mut rollouts, mut questions) = (Vec::new(), Vec::new());
        for prompts in prompts.chunks(BATCH) {
            let (more, asked) = NanoActor::write(library, decoder, speech, prompts, &writing)?;
            rollouts.extend(more);
            questions.extend(asked);
        }
        let groups = groups(library, prompts, &rollouts);
        let of_pairs = |values: &[f64], of: fn(f64, f64) -> f64| -> Vec<f64> {
            values.chunks_exact(2).map(|both| of(both[0], both[1])).collect()
        };
        let rated = |reward: &dyn Reward| of_pairs(&reward.rate(&groups).concat(), |ab, ba| (ab + ba) / 2.0);
        let margins: Vec<f64> = rollouts.iter().map(|r| r.margin.unwrap_or(0.0)).collect();
        let both_orders = |ab: f64, ba: f64| (ab - ba) / 2.0;
        let mut contents: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, prompt) in prompts.iter().step_by(2).enumerate() {
            contents.entry(library.content(prompt.a)).or_default().push(place);
        }
        Ok(Self {
            targets: prompts.iter().step_by(2).map(|p| p.target).collect(),
            behind: of_pairs(&margins, both_orders),
            questions: of_pairs(&questions, both_orders),
            gaps: of_pairs(&margins, |ab, ba| (ab + ba).abs()),
            format: rated(&Format),
            preference: rated(&Preference { tie: rewards.tie, side: rewards.side }),
            attribution: rated(&Attribution),
            contents: contents.into_values().collect(),
        })
    }

    /// Figures over all pairs.
    pub(super) fn figures(&self) -> Figures {
        self.over(&(0..self.targets.len()).collect::<Vec<_>>())
    }

    /// Figures over these places.
    fn over(&self, places: &[usize]) -> Figures {
        let at = |values: &[f64]| -> Vec<f64> { places.iter().map(|&place| values[place]).collect() };
        let of = |values: &[f64]| mean(&at(values));
        let correlation =
            |found: &[f64]| ScorePairs::new(at(found), at(&self.targets)).ok().as_ref().and_then(srcc);
        let error = |found: &[f64]| {
            mean(&places.iter().map(|&place| (found[place] - self.targets[place]).abs()).collect::<Vec<_>>())
        };
        Figures {
            pairs: places.len(),
            margin_srcc: correlation(&self.behind),
            margin_error: error(&self.behind),
            order_gap: of(&self.gaps),
            question_srcc: correlation(&self.questions),
            question_error: error(&self.questions),
            format: of(&self.format),
            preference: of(&self.preference),
            attribution: of(&self.attribution),
        }
    }

    /// 95 % intervals of what `after` gained on the same pairs, in the order of [`Figures::named`]: a bootstrap over contents, since
    /// pairs of one content succeed and fail together.
    pub(super) fn gains(&self, after: &Self) -> Vec<Option<Interval>> {
        let draws = Bootstrap::default().resample(self.contents.len(), |drawn| {
            let places: Vec<usize> =
                drawn.iter().flat_map(|&content| self.contents[content].clone()).collect();
            let (before, after) = (self.over(&places).named(), after.over(&places).named());
            Some(std::array::from_fn::<_, FIGURES, _>(|i| Some(after[i].1? - before[i].1?)))
        });
        (0..FIGURES).map(|i| percentile_interval(draws.iter().filter_map(|draw| draw[i]).collect())).collect()
    }
}
