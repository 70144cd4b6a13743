//! Names and shapes of the published networks at their real sizes, against lists that are not juror's: those of
//! transformers (`full_size/*.txt`, written by `scripts/full-size-names.py`), the names in the tiny golden checkpoints,
//! and the sums that the headers of the published files give. No weight is made. SlowFast's and LLaVA-OneVision's lists
//! come with their fixtures.

use std::collections::{BTreeMap, BTreeSet};

use juror_lmm::checkpoint::{Layout, Source, TensorSpec, canonical};
use juror_lmm::internvl3::hf_layout;
use juror_lmm::published::random::{Known, Scale};

use crate::support::{folder, tensors};

type Shapes = BTreeMap<String, Vec<usize>>;

/// A list as the script prints it: a name, in which `{0..n}` stands for the numbers of `n` layers, and a shape.
fn listed(text: &str) -> Shapes {
    let mut shapes = Shapes::new();
    for line in text.lines() {
        let (name, shape) = line.split_once(' ').unwrap();
        let shape: Vec<usize> = shape.split(' ').map(|side| side.parse().unwrap()).collect();
        match name.split_once("{0..") {
            None => assert!(shapes.insert(name.to_owned(), shape).is_none()),
            Some((before, rest)) => {
                let (count, after) = rest.split_once('}').unwrap();
                for i in 0..count.parse::<usize>().unwrap() {
                    assert!(shapes.insert(format!("{before}{i}{after}"), shape.clone()).is_none());
                }
            }
        }
    }
    shapes
}

/// What juror asks of the files of a layout.
fn asked(needed: &[TensorSpec], layout: Layout) -> Shapes {
    let mut shapes = Shapes::new();
    for spec in needed {
        match layout(&spec.name) {
            Source::Name(name) => assert!(shapes.insert(name, spec.shape.clone()).is_none()),
            Source::Rows(names) => {
                assert_eq!(spec.shape[0] % names.len(), 0, "{}", spec.name);
                let mut shape = spec.shape.clone();
                shape[0] /= names.len();
                assert!(names.into_iter().all(|name| shapes.insert(name, shape.clone()).is_none()));
            }
        }
    }
    shapes
}

/// Names with the numbers of layers left out, and the number of dimensions.
fn kinds<'a>(shapes: impl IntoIterator<Item = (&'a String, usize)>) -> BTreeSet<(String, usize)> {
    let numbered = ["layers", "blocks", "deepstack_merger_list"];
    let kind = |name: &String| {
        let mut parts: Vec<&str> = name.split('.').collect();
        for i in 1..parts.len() {
            if numbered.contains(&parts[i - 1]) {
                parts[i] = "*";
            }
        }
        parts.join(".")
    };
    shapes.into_iter().map(|(name, rank)| (kind(name), rank)).collect()
}

/// The kinds of tensors in a tiny golden checkpoint.
fn golden_kinds(family: &str) -> BTreeSet<(String, usize)> {
    let stored = tensors(&folder(family).join("model.safetensors"));
    kinds(stored.iter().map(|(name, tensor)| (name, tensor.rank())))
}

fn parameters<'a>(shapes: impl IntoIterator<Item = &'a Vec<usize>>) -> usize {
    shapes.into_iter().map(|shape| shape.iter().product::<usize>()).sum()
}

#[test]
fn golden_internvl3_full_size_names() {
    let needed = Known::InternVl3.tensors(Scale::Full).unwrap();
    let theirs = listed(include_str!("full_size/internvl3-8b.txt"));
    assert_eq!(asked(&needed, hf_layout), theirs);
    // In OpenGVLab's own layout, with VQAThinker's motion network.
    let thinker = asked(&Known::VqaThinker.tensors(Scale::Full).unwrap(), canonical);
    assert_eq!(kinds(thinker.iter().map(|(name, shape)| (name, shape.len()))), golden_kinds("internvl3"));
    let plain = asked(&needed, canonical);
    assert!(plain.iter().all(|(name, shape)| thinker.get(name) == Some(shape)));
    // What is told of the files of a derivative with the same architecture.
    assert_eq!(parameters(plain.values()), 7_944_373_760);
    assert_eq!(parameters(theirs.values()), 7_944_373_760);
}

#[test]
fn golden_qwen3_vl_full_size_names() {
    let needed = asked(&Known::Qwen3Vl.tensors(Scale::Full).unwrap(), canonical);
    assert_eq!(needed, listed(include_str!("full_size/qwen3-vl-4b.txt")));
    // The published one ties the output layer to the embedding table; the tiny one does not.
    let mut golden = golden_kinds("qwen3_vl");
    assert!(golden.remove(&("lm_head.weight".to_owned(), 2)));
    assert_eq!(kinds(needed.iter().map(|(name, shape)| (name, shape.len()))), golden);
    // Headers of Qwen3-VL-4B-Instruct's files: 713 tensors of bf16 in 8 875 631 616 bytes (`total_size` of the index), of
    // which 315 with 830 695 424 bytes are the tower's.
    assert_eq!((needed.len(), 2 * parameters(needed.values())), (713, 8_875_631_616));
    let tower: Vec<_> = needed.iter().filter(|(name, _)| name.starts_with("model.visual.")).collect();
    let shapes = tower.iter().map(|(_, shape)| *shape);
    assert_eq!((tower.len(), 2 * parameters(shapes)), (315, 830_695_424));
}
