//! A ranking for people: a row a video, best first, then how it came about.

use juror::Ranking;
use juror::record::ranking::Stopped;

use super::{line, wrapped};

/// The ranking as text.
pub(super) fn text(ranking: &Ranking, width: usize) -> String {
    let mut text = String::new();
    let groups = ranking.items.last().map_or(1, |item| item.group);
    let mut group = 0;
    for item in &ranking.items {
        if item.group != group {
            group = item.group;
            if groups > 1 {
                line(&mut text, &format!("group {group} of {groups}, which are not connected"));
            }
            line(&mut text, "rank  score  95 % interval   won  lost  tied  video");
        }
        let rank = if item.tied { format!("={}", item.rank) } else { item.rank.to_string() };
        let interval = item.ci95.map_or("unknown".to_owned(), |[lo, hi]| format!("{lo:.2} to {hi:.2}"));
        line(
            &mut text,
            &format!(
                "{rank:>4}  {:>5.2}  {interval:<14}  {:>4}  {:>4}  {:>4}  {}",
                item.score, item.wins, item.losses, item.ties, item.path
            ),
        );
    }
    if ranking.items.iter().any(|item| item.tied) {
        text += &wrapped("= cannot be told from the video above it", "", width);
    }
    text.push('\n');
    text += &wrapped(&summary(ranking), "", width);
    for cycle in ranking.worst_cycles.iter().filter(|cycle| cycle.intransitive).take(3) {
        let walk = cycle.paths.iter().chain(cycle.paths.first()).map(String::as_str);
        let walk = walk.collect::<Vec<_>>().join(" > ");
        text += &wrapped(&format!("A circle of {:.2} points: {walk}.", cycle.margin_sum), "", width);
    }
    text
}

/// How the ranking came about, in words.
pub fn summary(ranking: &Ranking) -> String {
    let until = match ranking.stopped {
        Stopped::Budget => "as many as allowed",
        Stopped::Interval => "until every interval was narrow enough",
        Stopped::Order => "until the order was settled",
        Stopped::AllPairs => "all there are",
        Stopped::Failure => "until one failed",
        Stopped::Given => "all that were given",
    };
    let comparisons = ranking.comparisons;
    let mut text = format!("{} of {} pairs were judged, {until}.", comparisons.judged, comparisons.possible);
    if let Some(inconsistency) = ranking.inconsistency {
        text += &format!(" {:.1} % of what the margins say is contradiction.", 100.0 * inconsistency);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use juror::record::ranking::{Comparisons, GraphEdge, RankedItem, WorstCycle};
    use juror::record::{ModelId, Provenance, RankingType, Schema};

    use super::*;

    /// Four videos of which the middle two cannot be told apart.
    pub fn ranking() -> Ranking {
        let item = |rank, path: &str, score: f64, tied| RankedItem {
            rank,
            path: path.to_owned(),
            score,
            ci95: Some([score - 0.3, score + 0.3]),
            tied,
            wins: 4 - rank,
            losses: rank - 1,
            ties: 0,
            group: 1,
            sha256: Some("00".repeat(32)),
        };
        let edge = |a: &str, b: &str, margin| GraphEdge { a: a.to_owned(), b: b.to_owned(), margin };
        let model = Some(ModelId { name: "nano".to_owned(), sha256: "11".repeat(32) });
        let shared = Provenance::without_model(0);
        Ranking {
            schema: Schema,
            record_type: RankingType,
            items: vec![
                item(1, "a.mp4", 4.25, false),
                item(2, "clips/b.mp4", 3.1, false),
                item(3, "c <i>.mp4", 3.0, true),
                item(4, "d.mp4", 1.5, false),
            ],
            comparisons: Comparisons { judged: 4, possible: 6 },
            inconsistency: Some(0.0123),
            noise: Some(0.2),
            stopped: Stopped::Order,
            worst_cycles: vec![WorstCycle {
                paths: vec!["a.mp4".to_owned(), "clips/b.mp4".to_owned(), "d.mp4".to_owned()],
                margin_sum: 0.4,
                intransitive: true,
            }],
            graph: Some(vec![
                edge("a.mp4", "clips/b.mp4", 1.1),
                edge("clips/b.mp4", "c <i>.mp4", 0.1),
                edge("c <i>.mp4", "d.mp4", 1.4),
                edge("d.mp4", "a.mp4", -2.8),
            ]),
            provenance: Provenance {
                model,
                seed: 0,
                device: shared.device,
                timings: shared.timings,
                warnings: Vec::new(),
                version: "0.0.0".to_owned(),
            },
        }
    }

    #[test]
    fn a_ranking_reads_as_a_table() {
        insta::assert_snapshot!(text(&ranking(), 80));
        let mut pieces = ranking();
        for item in &mut pieces.items[2..] {
            (item.group, item.rank, item.ci95) = (2, item.rank - 2, None);
        }
        pieces.stopped = Stopped::Budget;
        insta::assert_snapshot!(text(&pieces, 80));
    }
}
