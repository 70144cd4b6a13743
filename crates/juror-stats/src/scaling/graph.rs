//! Connected groups of a comparison graph (union-find), and strongly connected ones (Tarjan).

use serde::Serialize;

/// The connected groups of items: scores are comparable inside a group only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Components {
    /// Group of each item; groups are numbered by their smallest item.
    pub of_item: Vec<usize>,
    /// Number of items in each group.
    pub sizes: Vec<usize>,
}

impl Components {
    /// Groups of `items` items joined by `edges`.
    pub(crate) fn new(items: usize, edges: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut parent: Vec<usize> = (0..items).collect();
        fn root(parent: &mut [usize], mut i: usize) -> usize {
            while parent[i] != i {
                parent[i] = parent[parent[i]]; // path halving
                i = parent[i];
            }
            i
        }
        for (a, b) in edges {
            let (ra, rb) = (root(&mut parent, a), root(&mut parent, b));
            parent[ra.max(rb)] = ra.min(rb);
        }
        let mut number = vec![usize::MAX; items];
        let mut sizes = Vec::new();
        let mut of_item = Vec::with_capacity(items);
        for i in 0..items {
            let r = root(&mut parent, i);
            if number[r] == usize::MAX {
                number[r] = sizes.len();
                sizes.push(0);
            }
            sizes[number[r]] += 1;
            of_item.push(number[r]);
        }
        Self { of_item, sizes }
    }

    /// Number of groups.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// The items of each group, ascending.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.count()];
        for (item, &group) in self.of_item.iter().enumerate() {
            members[group].push(item);
        }
        members
    }

    /// Whether two items share a scale.
    pub fn together(&self, a: usize, b: usize) -> bool {
        self.of_item[a] == self.of_item[b]
    }

    /// Size of the group of an item.
    pub fn size_of(&self, item: usize) -> usize {
        self.sizes[self.of_item[item]]
    }

    /// Subtracts from every value the mean of its group.
    pub(crate) fn centre(&self, values: &mut [f64]) {
        let mut mean = vec![0.0; self.count()];
        for (&group, &value) in self.of_item.iter().zip(values.iter()) {
            mean[group] += value;
        }
        for (mean, &size) in mean.iter_mut().zip(&self.sizes) {
            *mean /= size as f64;
        }
        for (&group, value) in self.of_item.iter().zip(values.iter_mut()) {
            *value -= mean[group];
        }
    }
}

/// Strongly connected groups of the directed graph `i -> successors[i]` (Tarjan 1972, without recursion): the group of
/// each item, numbered so that an edge between groups leads from the higher number to the lower.
pub(crate) fn strong_components(successors: &[Vec<usize>]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let n = successors.len();
    let (mut index, mut low, mut group) = (vec![UNSEEN; n], vec![0; n], vec![UNSEEN; n]);
    let (mut next_index, mut next_group) = (0, 0);
    let mut open = Vec::new();
    for start in 0..n {
        if index[start] != UNSEEN {
            continue;
        }
        // (item, successors already followed)
        let mut path = vec![(start, 0)];
        while let Some(&mut (item, ref mut followed)) = path.last_mut() {
            if *followed == 0 {
                index[item] = next_index;
                low[item] = next_index;
                next_index += 1;
                open.push(item);
            }
            if let Some(&next) = successors[item].get(*followed) {
                *followed += 1;
                if index[next] == UNSEEN {
                    path.push((next, 0));
                } else if group[next] == UNSEEN {
                    low[item] = low[item].min(index[next]);
                }
                continue;
            }
            path.pop();
            if let Some(&(parent, _)) = path.last() {
                low[parent] = low[parent].min(low[item]);
            }
            if low[item] == index[item] {
                while let Some(member) = open.pop() {
                    group[member] = next_group;
                    if member == item {
                        break;
                    }
                }
                next_group += 1;
            }
        }
    }
    group
}
