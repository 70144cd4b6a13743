//! Every operation against its f64 composition and central differences, on odd shapes, views and empty tensors.

use crate::reference::{check, values};
use candle_core::{DType, Device, Tensor};
use juror_nn::ops::{self, Mask};

#[test]
fn activations() {
    for shape in [&[1][..], &[3, 7], &[2, 5, 33], &[70_001]] {
        check("gelu", &[shape], &|t| ops::gelu(&(&t[0] * 2.5)?));
        check("gelu_tanh", &[shape], &|t| ops::gelu_tanh(&(&t[0] * 2.5)?));
        check("silu", &[shape], &|t| ops::silu(&(&t[0] * 2.5)?));
        check("softplus", &[shape], &|t| ops::softplus(&(&t[0] * 2.5)?));
    }
    check("gelu of a view", &[&[5, 9]], &|t| ops::gelu(&t[0].t()?));
    check("silu of a part", &[&[5, 9]], &|t| ops::silu(&t[0].narrow(1, 2, 3)?));
}

#[test]
fn activations_keep_their_limits() {
    let x = Tensor::new(&[-1e30_f32, -40.0, -0.0, 0.0, 40.0, 1e30], &Device::Cpu).unwrap();
    for op in [ops::gelu, ops::gelu_tanh, ops::silu] {
        let y: Vec<f32> = op(&x).unwrap().to_vec1().unwrap();
        assert!(y.iter().all(|y| y.is_finite()), "{y:?}");
        assert!(y[0].abs() < 1e-12 && y[1].abs() < 1e-12 && y[2] == 0.0 && y[3] == 0.0, "{y:?}");
        assert!(y[4] == 40.0 && y[5] == 1e30, "{y:?}");
    }
}

#[test]
fn softmax() {
    for shape in [&[1][..], &[4, 1], &[3, 7], &[2, 3, 129], &[600, 196]] {
        check("softmax", &[shape], &|t| ops::softmax(&(&t[0] * 4.0)?));
    }
    check("softmax of a view", &[&[17, 6]], &|t| ops::softmax(&t[0].t()?));
}

#[test]
fn norms() {
    for (rows, dim) in [(1, 1), (1, 8), (5, 33), (700, 96), (13, 384)] {
        let shapes: &[&[usize]] = &[&[rows, dim], &[dim], &[dim]];
        check("layer_norm", shapes, &|t| ops::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-3));
        check("layer_norm without bias", &shapes[..2], &|t| ops::layer_norm(&t[0], &t[1], None, 1e-3));
        check("rms_norm", &shapes[..2], &|t| ops::rms_norm(&t[0], &t[1], 1e-3));
    }
    check("layer_norm of a view", &[&[2, 6, 5], &[6], &[6]], &|t| {
        ops::layer_norm(&t[0].transpose(1, 2)?, &t[1], Some(&t[2]), 1e-5)
    });
}

#[test]
fn mean_and_deviation() {
    for shape in [&[1, 1, 1][..], &[3, 16, 5], &[2, 3, 129], &[90, 16, 64]] {
        check("mean_and_deviation", &[shape], &|t| ops::mean_and_deviation(&t[0], 1e-2));
    }
    check("mean_and_deviation of a view", &[&[4, 6, 5]], &|t| {
        ops::mean_and_deviation(&t[0].transpose(1, 2)?, 1e-2)
    });
    let none = Tensor::zeros((2, 0, 4), DType::F32, &Device::Cpu).unwrap();
    assert!(ops::mean_and_deviation(&none, 1e-5).is_err());
}

#[test]
fn linear() {
    for (rows, inner, out) in [(1, 1, 1), (1, 64, 7), (3, 5, 4), (2, 2, 2), (65, 33, 17), (300, 96, 48)] {
        let shapes: &[&[usize]] = &[&[rows, inner], &[out, inner], &[out]];
        check("linear", shapes, &|t| ops::linear(&t[0], &t[1], Some(&t[2])));
        check("linear without bias", &shapes[..2], &|t| ops::linear(&t[0], &t[1], None));
    }
    check("linear of a view", &[&[2, 6, 5, 3], &[4, 6], &[4]], &|t| {
        ops::linear(&t[0].permute((0, 3, 2, 1))?, &t[1], Some(&t[2]))
    });
    check("linear with a transposed weight", &[&[9, 6], &[6, 4]], &|t| ops::linear(&t[0], &t[1].t()?, None));
}

#[test]
fn a_row_gives_the_same_bits_in_any_batch() {
    for (inner, out) in [(1, 1), (2, 40), (96, 48), (64, 3), (384, 1536), (1536, 384), (1100, 1), (30, 16)] {
        let t = |count: usize, dims: &[usize], seed| {
            Tensor::from_vec(values(count, seed), dims, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
        };
        let (x, w, b) =
            (t(300 * inner, &[300, inner], 1), t(out * inner, &[out, inner], 2), t(out, &[out], 3));
        for bias in [None, Some(&b)] {
            let all: Vec<Vec<f32>> = ops::linear(&x, &w, bias).unwrap().to_vec2().unwrap();
            for rows in [1, 2, 3, 5, 16, 17, 63, 64, 65, 200] {
                let part: Vec<Vec<f32>> =
                    ops::linear(&x.narrow(0, 7, rows).unwrap(), &w, bias).unwrap().to_vec2().unwrap();
                assert!(
                    part == all[7..7 + rows],
                    "{rows} rows of [{inner}] to [{out}], bias {}",
                    bias.is_some()
                );
            }
        }
    }
}

#[test]
fn attention() {
    // batch, heads, kv_heads, q_len, k_len, dim
    for (b, h, g, q, k, d) in [
        (1, 1, 1, 1, 1, 1),
        (2, 2, 2, 3, 5, 8),
        (1, 4, 2, 1, 9, 16),
        (3, 6, 2, 1, 33, 16),
        (2, 6, 2, 37, 70, 12),
        (1, 2, 1, 130, 130, 64),
    ] {
        let shapes: &[&[usize]] = &[&[b, h, q, d], &[b, g, k, d], &[b, g, k, d]];
        let scale = 1.0 / (d as f64).sqrt();
        check("attention", shapes, &|t| ops::attention(&t[0], &t[1], &t[2], scale, Mask::None));
        check("causal attention", shapes, &|t| ops::attention(&t[0], &t[1], &t[2], scale, Mask::Causal));
        let lengths: Vec<usize> = (0..b).map(|i| k / (i + 1)).collect();
        check("attention to first keys", shapes, &|t| {
            ops::attention(&t[0], &t[1], &t[2], scale, Mask::KeyLengths(&lengths))
        });
        let mask = Tensor::from_vec(values(q * k, 5), (1, 1, q, k), &Device::Cpu).unwrap();
        check("attention with a bias", shapes, &|t| {
            ops::attention(&t[0], &t[1], &t[2], scale, Mask::Additive(&mask.to_dtype(t[0].dtype())?))
        });
    }
    check("attention of views", &[&[2, 7, 3, 8], &[2, 7, 3, 8], &[2, 7, 3, 8]], &|t| {
        ops::attention(
            &t[0].transpose(1, 2)?,
            &t[1].transpose(1, 2)?,
            &t[2].transpose(1, 2)?,
            0.3,
            Mask::Causal,
        )
    });
}

/// As a token is written: one query a head, several query heads a key head, a mask for each of them, views.
#[test]
fn attention_of_one_query() {
    let (b, h, g, k, d) = (2, 6, 2, 600, 16);
    let bias = Tensor::from_vec(values(b * h * k, 5), (b, h, 1, k), &Device::Cpu).unwrap();
    check("one query", &[&[b, 1, h, d], &[b, k, g, d], &[b, k, g, d]], &|t| {
        let heads = |i: usize| t[i].transpose(1, 2);
        let bias = bias.to_dtype(t[0].dtype())?;
        ops::attention(&heads(0)?, &heads(1)?, &heads(2)?, 0.3, Mask::Additive(&bias))
    });
}

#[test]
fn packed_attention() {
    check("packed attention", &[&[2, 11, 5 * 8]], &|t| ops::attention_packed(&t[0], 3, 1, 0.3, Mask::None));
    check("packed causal attention", &[&[2, 11, 6 * 8]], &|t| {
        ops::attention_packed(&t[0], 2, 2, 0.3, Mask::Causal)
    });
}

#[test]
fn attention_without_visible_keys_is_zero() {
    let x = Tensor::from_vec(values(2 * 3 * 4, 1), (2, 1, 3, 4), &Device::Cpu).unwrap();
    for dtype in [DType::F32, DType::F64] {
        let x = x.to_dtype(dtype).unwrap();
        let y = ops::attention(&x, &x, &x, 1.0, Mask::KeyLengths(&[0, 3])).unwrap();
        let y: Vec<f64> = y.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(y[..12].iter().all(|&y| y == 0.0) && y[12..].iter().all(|&y| y != 0.0), "{y:?}");
    }
}

#[test]
fn rope() {
    for (tokens, dim) in [(1, 2), (5, 8), (33, 64)] {
        let angles = Tensor::from_vec(values(tokens * dim / 2, 3), (tokens, dim / 2), &Device::Cpu).unwrap();
        let turn = |op: fn(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>| {
            let angles = angles.clone();
            move |t: &[Tensor]| {
                let angles = angles.to_dtype(t[0].dtype())?;
                op(&t[0], &angles.cos()?, &angles.sin()?)
            }
        };
        check("rope", &[&[2, 3, tokens, dim]], &turn(ops::rope));
        check("interleaved rope", &[&[2, 3, tokens, dim]], &turn(ops::rope_interleaved));
    }
    let angles = Tensor::from_vec(values(2 * 5 * 4, 3), (2, 5, 4), &Device::Cpu).unwrap();
    check("rope per batch row, of a view", &[&[2, 5, 3, 8]], &|t| {
        let angles = angles.to_dtype(t[0].dtype())?;
        ops::rope(&t[0].transpose(1, 2)?, &angles.cos()?, &angles.sin()?)
    });
}

#[test]
fn cross_entropy() {
    for (rows, vocab) in [(1, 1), (1, 9), (5, 33), (70, 1000)] {
        let targets: Vec<u32> = (0..rows as u32).map(|row| (row * 7 + 3) % vocab as u32).collect();
        let targets = Tensor::new(targets, &Device::Cpu).unwrap();
        check("cross_entropy", &[&[rows, vocab]], &|t| ops::cross_entropy(&(&t[0] * 3.0)?, &targets, None));
        check("cross_entropy without token 3", &[&[rows, vocab]], &|t| {
            ops::cross_entropy(&t[0], &targets, Some(3))
        });
    }
    let all_ignored = ops::cross_entropy(
        &Tensor::zeros((2, 4), DType::F32, &Device::Cpu).unwrap(),
        &Tensor::new(&[1_u32, 1], &Device::Cpu).unwrap(),
        Some(1),
    );
    assert_eq!(all_ignored.unwrap().to_scalar::<f32>().unwrap(), 0.0);
}

#[test]
fn embedding() {
    let ids = Tensor::new(&[[3_u32, 0, 3], [5, 3, 0]], &Device::Cpu).unwrap();
    check("embedding", &[&[6, 5]], &|t| ops::embedding(&ids, &t[0]));
    let outside = Tensor::new(&[6_u32], &Device::Cpu).unwrap();
    let table = Tensor::zeros((6, 5), DType::F32, &Device::Cpu).unwrap();
    assert!(ops::embedding(&outside, &table).is_err());
}

#[test]
fn conv3d() {
    type Case = ([usize; 5], [usize; 5], [usize; 3], [usize; 3], [usize; 3], usize);
    let cases: [Case; 5] = [
        ([1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1; 3], [0; 3], [1; 3], 1),
        ([2, 3, 4, 6, 5], [4, 3, 3, 3, 3], [1; 3], [1; 3], [1; 3], 1),
        ([1, 4, 5, 7, 9], [6, 2, 1, 3, 2], [1, 2, 2], [0, 1, 1], [1; 3], 2),
        ([2, 4, 6, 6, 6], [4, 1, 3, 2, 2], [2, 1, 3], [2, 0, 1], [2, 3, 1], 4),
        ([1, 3, 2, 8, 8], [5, 3, 2, 4, 4], [2, 4, 4], [0; 3], [1; 3], 1),
    ];
    for (x, w, stride, padding, dilation, groups) in cases {
        check("conv3d", &[&x, &w, &w[..1]], &|t| {
            ops::conv3d(&t[0], &t[1], Some(&t[2]), stride, padding, dilation, groups)
        });
    }
}

#[test]
fn frozen_linear_makes_no_weight_gradient() {
    for dtype in [DType::F32, DType::F64] {
        let var = |values: &[f64], dims: &[usize]| {
            let tensor = Tensor::from_slice(values, dims, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            candle_core::Var::from_tensor(&tensor).unwrap()
        };
        let (weight, x) = (var(&[1.0, 2.0, 3.0, 4.0], &[2, 2]), var(&[1.0, 1.0], &[1, 2]));
        let y =
            ops::frozen_linear(&x, &weight, Some(&Tensor::ones(2, dtype, &Device::Cpu).unwrap())).unwrap();
        assert_eq!(y.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap(), [[4.0, 8.0]]);
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert!(grads.get(&weight).is_none());
        let grad = grads.get(&x).unwrap().to_dtype(DType::F64).unwrap();
        assert_eq!(grad.to_vec2::<f64>().unwrap(), [[4.0, 6.0]]);
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let t = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    assert!(ops::linear(&t(&[3, 4]), &t(&[5, 6]), None).is_err());
    assert!(ops::linear(&t(&[3, 4]), &t(&[5, 4]), Some(&t(&[4]))).is_err());
    assert!(ops::layer_norm(&t(&[3, 4]), &t(&[5]), None, 1e-5).is_err());
    assert!(
        ops::attention(&t(&[1, 2, 3, 4]), &t(&[1, 3, 3, 4]), &t(&[1, 3, 3, 4]), 1.0, Mask::None).is_err()
    );
    assert!(
        ops::conv3d(&t(&[1, 3, 2, 2, 2]), &t(&[1, 3, 3, 1, 1]), None, [1; 3], [0; 3], [1; 3], 1).is_err()
    );
    assert!(ops::rope(&t(&[1, 1, 3, 4]), &t(&[3, 3]), &t(&[3, 3])).is_err());
}

#[test]
fn empty_tensors_stay_empty() {
    let t = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    assert_eq!(ops::gelu(&t(&[0, 4])).unwrap().dims(), [0, 4]);
    assert_eq!(ops::softmax(&t(&[0, 4])).unwrap().dims(), [0, 4]);
    assert_eq!(ops::layer_norm(&t(&[0, 4]), &t(&[4]), None, 1e-5).unwrap().dims(), [0, 4]);
    assert_eq!(ops::linear(&t(&[2, 0, 4]), &t(&[5, 4]), Some(&t(&[5]))).unwrap().dims(), [2, 0, 5]);
    let q = t(&[1, 2, 0, 4]);
    assert_eq!(ops::attention(&q, &q, &q, 1.0, Mask::None).unwrap().dims(), [1, 2, 0, 4]);
}

/// Decoding reads a token alone, or a few at once, where a whole sequence is read otherwise.
#[test]
fn few_rows_give_the_bits_that_they_give_among_many() {
    let tensor = |rows: usize, columns: usize, seed: u64| {
        let values: Vec<f32> = values(rows * columns, seed).into_iter().map(|v| v as f32).collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    };
    let bits = |t: &Tensor| -> Vec<u32> {
        t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    for (inputs, outputs) in [(1100, 70), (33, 16), (512, 300), (7, 40)] {
        let (x, weight) = (tensor(40, inputs, 1), tensor(outputs, inputs, 2));
        let bias = tensor(1, outputs, 3).squeeze(0).unwrap();
        for bias in [None, Some(&bias)] {
            let whole = ops::linear(&x, &weight, bias).unwrap();
            for rows in [1, 2, 3, 5, 8, 15, 16, 17] {
                let few = ops::linear(&x.narrow(0, 40 - rows, rows).unwrap(), &weight, bias).unwrap();
                let want = whole.narrow(0, 40 - rows, rows).unwrap();
                assert_eq!(bits(&few), bits(&want), "{rows} rows of {inputs} to {outputs}");
            }
        }
    }
}
