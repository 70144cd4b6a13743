//! Sorting, ranks and counted inversions: what rank correlations are made of, in O(n log n).

/// The order of the values, ascending; equal values in their order of place.
pub(crate) fn ascending(values: &[f64]) -> Vec<u32> {
    // Sorting (key, place) tuples is faster than sorting places through a look-up, and unstable sort is exact on them.
    let mut keyed: Vec<(u64, u32)> = values.iter().enumerate().map(|(i, &v)| (key(v), i as u32)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, i)| i).collect()
}

/// A number that orders as the finite `f64` does; -0 and 0 are equal.
fn key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Ranks from 1; equal values share the average of their ranks.
pub fn average_ranks(values: &[f64]) -> Vec<f64> {
    ranks_in(&ascending(values), values)
}

/// [`average_ranks`] when the order is known.
pub(crate) fn ranks_in(order: &[u32], values: &[f64]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for tied in order.chunk_by(|&i, &j| values[i as usize] == values[j as usize]) {
        let rank = start as f64 + (tied.len() as f64 + 1.0) / 2.0;
        for &i in tied {
            ranks[i as usize] = rank;
        }
        start += tied.len();
    }
    ranks
}

/// Sorts the values and counts the pairs that stood in strictly descending order (merge sort).
pub(crate) fn sort_counting_inversions(values: &mut [u32]) -> u64 {
    let mut scratch = values.to_vec();
    merge_sort(values, &mut scratch)
}

fn merge_sort(values: &mut [u32], scratch: &mut [u32]) -> u64 {
    const INSERTION: usize = 16;
    let n = values.len();
    if n <= INSERTION {
        let mut inversions = 0;
        for i in 1..n {
            let mut j = i;
            while j > 0 && values[j - 1] > values[j] {
                values.swap(j - 1, j);
                j -= 1;
            }
            inversions += (i - j) as u64;
        }
        return inversions;
    }
    let half = n / 2;
    let mut inversions = merge_sort(&mut values[..half], &mut scratch[..half])
        + merge_sort(&mut values[half..], &mut scratch[half..]);
    if values[half - 1] <= values[half] {
        return inversions;
    }
    scratch.copy_from_slice(values);
    let (left, right) = scratch.split_at(half);
    let (mut i, mut j) = (0, 0);
    for value in values.iter_mut() {
        if j == right.len() || (i < left.len() && left[i] <= right[j]) {
            *value = left[i];
            i += 1;
        } else {
            *value = right[j];
            j += 1;
            inversions += (left.len() - i) as u64;
        }
    }
    inversions
}
