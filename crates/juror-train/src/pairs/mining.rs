//! gMAD: pairs on which two judges differ most (Ma et al., "Group maximum differentiation competition", 2020; C5 of LMM-PVQA).
//!
//! The *defender*'s scores are cut into levels of equal numbers of videos. Inside a level those pairs are taken that the
//! *attacker* finds most different while the defender finds them alike within a tolerance. Whoever is wrong, the pair tells.

/// Videos of a level that are looked at; more would cost time squared.
const MOST_PER_LEVEL: usize = 400;
/// A video serves in at most this many pairs of a level.
const MOST_USES: usize = 3;
/// Less than this the attacker does not find different either, points.
const LEAST_DIFFERENCE: f64 = 0.3;

/// How pairs are searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Levels of equal numbers of videos.
    pub levels: usize,
    /// What the defender takes for alike, points.
    pub tolerance: f64,
    /// Pairs taken from each level.
    pub pairs_per_level: usize,
}

impl Search {
    /// Places of both videos, the one that the attacker prefers first. Scores in points, by video.
    #[must_use]
    pub fn pairs(&self, attacker: &[Option<f64>], defender: &[Option<f64>]) -> Vec<(usize, usize)> {
        let both = attacker.iter().zip(defender).enumerate();
        let mut videos: Vec<(f64, f64, usize)> = both
            .filter_map(|(index, (attacker, defender))| Some(((*defender)?, (*attacker)?, index)))
            .collect();
        videos.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.2.cmp(&y.2)));
        let size = videos.len().div_ceil(self.levels.max(1)).max(1);
        videos.chunks(size).flat_map(|level| self.of_level(level)).collect()
    }

    /// Of one level: `(defender, attacker, place)` by rising defender.
    fn of_level(&self, level: &[(f64, f64, usize)]) -> Vec<(usize, usize)> {
        let stride = level.len().div_ceil(MOST_PER_LEVEL).max(1);
        let level: Vec<&(f64, f64, usize)> = level.iter().step_by(stride).collect();
        let mut found: Vec<(f64, usize, usize)> = Vec::new();
        for (i, one) in level.iter().enumerate() {
            for other in level[i + 1..].iter().take_while(|other| other.0 - one.0 <= self.tolerance) {
                let difference = one.1 - other.1;
                if difference.abs() >= LEAST_DIFFERENCE {
                    let (a, b) = if difference > 0.0 { (one.2, other.2) } else { (other.2, one.2) };
                    found.push((difference.abs(), a, b));
                }
            }
        }
        found.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
        let mut uses = std::collections::HashMap::new();
        let mut pairs = Vec::new();
        for (_, a, b) in found {
            if pairs.len() == self.pairs_per_level {
                break;
            }
            let used = |video: &usize| uses.get(video).copied().unwrap_or(0);
            if used(&a).max(used(&b)) < MOST_USES {
                *uses.entry(a).or_insert(0) += 1;
                *uses.entry(b).or_insert(0) += 1;
                pairs.push((a, b));
            }
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_one_calls_alike_and_the_other_does_not() {
        // The defender sees two levels of quality, the attacker sees more in the lower one.
        let defender = [1.0, 1.05, 1.1, 4.0, 4.05, 4.1].map(Some);
        let attacker = [1.0, 3.0, 2.9, 4.0, 4.1, 4.2].map(Some);
        let search = Search { levels: 2, tolerance: 0.2, pairs_per_level: 2 };
        assert_eq!(search.pairs(&attacker, &defender), [(1, 0), (2, 0)]);
        let strict = Search { tolerance: 0.06, ..search };
        assert_eq!(strict.pairs(&attacker, &defender), [(1, 0)]);
        assert_eq!(search.pairs(&[None; 6], &defender), []);
    }

    #[test]
    fn no_video_stands_in_every_pair() {
        let defender = vec![Some(2.0); 50];
        let attacker: Vec<Option<f64>> = (0..50).map(|i| Some(if i == 0 { 5.0 } else { 1.0 })).collect();
        let search = Search { levels: 1, tolerance: 0.1, pairs_per_level: 20 };
        assert_eq!(search.pairs(&attacker, &defender).len(), MOST_USES);
    }
}
