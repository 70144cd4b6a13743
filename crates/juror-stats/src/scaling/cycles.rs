//! Where the margins contradict themselves: the cycles whose margins add up to something.
//!
//! Around a cycle A > B > C > A consistent margins sum to 0; the sum that is left (the *curl* of HodgeRank) is a
//! contradiction no scores can explain. Since score differences cancel around a cycle, its sum is that of the residuals
//! of the least-squares fit, so a 3-cycle of sum `c` holds a comparison with a residual of at least `c / 3`: walking the
//! comparisons from the largest residual down finds the worst 3-cycles without looking at all of them. A large residual
//! in no 3-cycle closes its shortest cycle instead.

use std::collections::VecDeque;

use serde::Serialize;

use super::least_squares::MarginFit;
use super::pairs::PairTable;

/// A closed walk over comparisons whose margins do not sum to 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cycle {
    /// The items in the order of the walk; the last is compared with the first. Two items: a pair judged several times
    /// with different outcomes. The direction is the one with a positive sum.
    pub items: Vec<usize>,
    /// Sum of the margins along the walk, points; positive.
    pub margin_sum: f64,
    /// Whether every step of the walk goes down: each item is preferred to the next, and the last to the first.
    pub intransitive: bool,
}

/// The `limit` cycles with the largest sums, worst first. Comparisons of the same pair count as their weighted mean, and
/// their own disagreement as a cycle of two items.
pub fn worst_cycles(pairs: &PairTable, fit: &MarginFit, limit: usize) -> Vec<Cycle> {
    if limit == 0 {
        return Vec::new();
    }
    let graph = Graph::new(pairs, &fit.scale.scores);
    let mut found = graph.disagreements();
    let mut by_residual: Vec<usize> = (0..graph.edges.len()).collect();
    by_residual.sort_by(|&e, &f| {
        graph.edges[f].residual.abs().total_cmp(&graph.edges[e].residual.abs()).then(e.cmp(&f))
    });
    let noise_floor = 1e-9 * graph.edges.iter().map(|e| e.margin.abs()).fold(0.0, f64::max);
    for (visited, &e) in by_residual.iter().enumerate() {
        let Edge { a, b, residual, .. } = graph.edges[e];
        if residual.abs() <= noise_floor {
            break;
        }
        keep_worst(&mut found, limit);
        let enough = found.len() == limit && found[limit - 1].margin_sum >= 3.0 * residual.abs();
        if enough {
            break;
        }
        let before = found.len();
        let mut any_triangle = false;
        graph.common_neighbours(a, b, |c| {
            any_triangle = true;
            found.push(graph.cycle(vec![a, b, c]));
        });
        if !any_triangle
            && visited < LONG_CYCLE_SEARCHES
            && let Some(path) = graph.shortest_way_round(a, b)
        {
            found.push(graph.cycle(path));
        }
        for cycle in &mut found[before..] {
            cycle.canonical();
        }
    }
    keep_worst(&mut found, limit);
    found.retain(|c| c.margin_sum > noise_floor);
    found
}

/// Breadth-first searches for longer cycles cost a pass over the graph each; only the worst comparisons get one.
const LONG_CYCLE_SEARCHES: usize = 200;

fn keep_worst(found: &mut Vec<Cycle>, limit: usize) {
    found.sort_by(|a, b| b.margin_sum.total_cmp(&a.margin_sum).then_with(|| a.items.cmp(&b.items)));
    found.dedup_by(|a, b| a.items == b.items);
    found.truncate(limit);
}

impl Cycle {
    /// Starts the walk at its smallest item, so that equal cycles compare equal.
    fn canonical(&mut self) {
        if let Some(start) = (0..self.items.len()).min_by_key(|&i| self.items[i]) {
            self.items.rotate_left(start);
        }
    }
}

/// One undirected pair `a < b`: weighted mean margin, and its spread over repeated judgements.
struct Edge {
    a: usize,
    b: usize,
    margin: f64,
    residual: f64,
    lowest: f64,
    highest: f64,
}

struct Graph {
    edges: Vec<Edge>,
    /// `(neighbour, edge)` of each item, ascending.
    neighbours: Vec<Vec<(usize, usize)>>,
}

impl Graph {
    fn new(pairs: &PairTable, scores: &[f64]) -> Self {
        let mut judged: Vec<(usize, usize, f64, f64)> = pairs
            .comparisons()
            .iter()
            .map(|c| if c.a < c.b { (c.a, c.b, c.margin, c.weight) } else { (c.b, c.a, -c.margin, c.weight) })
            .collect();
        judged.sort_by_key(|j| (j.0, j.1));
        let edges: Vec<Edge> = judged
            .chunk_by(|i, j| (i.0, i.1) == (j.0, j.1))
            .map(|same| {
                let (a, b, ..) = same[0];
                let weight: f64 = same.iter().map(|j| j.3).sum();
                let margin = same.iter().map(|j| j.2 * j.3).sum::<f64>() / weight;
                Edge {
                    a,
                    b,
                    margin,
                    residual: margin - (scores[a] - scores[b]),
                    lowest: same.iter().map(|j| j.2).fold(f64::INFINITY, f64::min),
                    highest: same.iter().map(|j| j.2).fold(f64::NEG_INFINITY, f64::max),
                }
            })
            .collect();
        let mut neighbours = vec![Vec::new(); pairs.items()];
        for (e, edge) in edges.iter().enumerate() {
            neighbours[edge.a].push((edge.b, e));
            neighbours[edge.b].push((edge.a, e));
        }
        for list in &mut neighbours {
            list.sort_unstable();
        }
        Self { edges, neighbours }
    }

    /// Repeated judgements of a pair that differ: "cycles" of two items.
    fn disagreements(&self) -> Vec<Cycle> {
        (self.edges.iter().filter(|e| e.highest > e.lowest))
            .map(|e| Cycle {
                items: vec![e.a, e.b],
                margin_sum: e.highest - e.lowest,
                intransitive: e.highest > 0.0 && e.lowest < 0.0,
            })
            .collect()
    }

    fn margin(&self, from: usize, to: usize) -> Option<f64> {
        let at = self.neighbours[from].binary_search_by_key(&to, |n| n.0).ok()?;
        let edge = &self.edges[self.neighbours[from][at].1];
        Some(if edge.a == from { edge.margin } else { -edge.margin })
    }

    /// Calls `visit` for every item compared with both.
    fn common_neighbours(&self, a: usize, b: usize, mut visit: impl FnMut(usize)) {
        let (mut i, mut j) = (self.neighbours[a].iter().peekable(), self.neighbours[b].iter().peekable());
        while let (Some(&&(x, _)), Some(&&(y, _))) = (i.peek(), j.peek()) {
            if x == y {
                visit(x);
            }
            if x <= y {
                i.next();
            }
            if y <= x {
                j.next();
            }
        }
    }

    /// Items of the shortest cycle through the comparison of `a` and `b`, from `a` on; `None` when it is a bridge.
    fn shortest_way_round(&self, a: usize, b: usize) -> Option<Vec<usize>> {
        let mut from = vec![usize::MAX; self.neighbours.len()];
        from[a] = a;
        let mut queue = VecDeque::from([a]);
        while let Some(i) = queue.pop_front() {
            for &(j, _) in &self.neighbours[i] {
                if from[j] != usize::MAX || (i == a && j == b) {
                    continue;
                }
                from[j] = i;
                if j == b {
                    let mut path = vec![b];
                    while let Some(&last) = path.last().filter(|&&last| last != a) {
                        path.push(from[last]);
                    }
                    path.reverse();
                    return Some(path);
                }
                queue.push_back(j);
            }
        }
        None
    }

    fn cycle(&self, mut items: Vec<usize>) -> Cycle {
        let steps = |items: &[usize]| -> Vec<f64> {
            (0..items.len()).filter_map(|k| self.margin(items[k], items[(k + 1) % items.len()])).collect()
        };
        let mut margins = steps(&items);
        if margins.iter().sum::<f64>() < 0.0 {
            items.reverse();
            margins = steps(&items);
        }
        Cycle { items, margin_sum: margins.iter().sum(), intransitive: margins.iter().all(|m| *m > 0.0) }
    }
}
