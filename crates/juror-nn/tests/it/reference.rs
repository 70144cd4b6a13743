//! Checks an operation three ways: f32 against f64 (another code path: the composition of candle operations),
//! gradients of both, and the f64 gradients against central differences.

use candle_core::{DType, Device, Result, Tensor, Var};
use juror_nn::rng;
use rand::RngExt;

/// Uniform values on [-1.5, 1.5], seeded.
pub fn values(count: usize, seed: u64) -> Vec<f64> {
    let mut rng = rng::stream(seed, &[count as u64]);
    // Rounded to f32 so that both precisions see the same numbers.
    (0..count).map(|_| f64::from((3.0 * rng.random::<f64>() - 1.5) as f32)).collect()
}

fn vars(inputs: &[Vec<f64>], shapes: &[&[usize]], dtype: DType) -> Vec<Var> {
    inputs
        .iter()
        .zip(shapes)
        .map(|(values, shape)| {
            let tensor = Tensor::from_slice(values, *shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            Var::from_tensor(&tensor).unwrap()
        })
        .collect()
}

type Op<'a> = &'a (dyn Fn(&[Tensor]) -> Result<Tensor> + Sync);

/// Output, and gradient per input of `Σ output · weights`.
pub fn run(op: Op, inputs: &[Var]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    let output = op(&tensors).unwrap();
    let weights = values(output.elem_count(), 99);
    let weights =
        Tensor::from_vec(weights, output.shape(), &Device::Cpu).unwrap().to_dtype(output.dtype()).unwrap();
    let grads = (&output * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let flat = |tensor: &Tensor| -> Vec<f64> {
        tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    };
    let grads = inputs
        .iter()
        .map(|var| grads.get(var.as_tensor()).map_or_else(|| vec![0.0; var.elem_count()], flat))
        .collect();
    (flat(&output), grads)
}

fn loss(op: Op, inputs: &[Vec<f64>], shapes: &[&[usize]]) -> f64 {
    let tensors: Vec<Tensor> = inputs
        .iter()
        .zip(shapes)
        .map(|(values, shape)| Tensor::from_slice(values, *shape, &Device::Cpu).unwrap())
        .collect();
    let output = op(&tensors).unwrap();
    let weights = values(output.elem_count(), 99);
    let output: Vec<f64> = output.flatten_all().unwrap().to_vec1().unwrap();
    output.iter().zip(&weights).map(|(y, w)| y * w).sum()
}

fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let scale = want.iter().fold(1e-2_f64, |top, value| top.max(value.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * scale, "{what}[{i}]: {got}, want {want} (scale {scale})");
    }
}

/// Checks `op` on inputs of the given shapes; see the module.
pub fn check(name: &str, shapes: &[&[usize]], op: Op) {
    let inputs: Vec<Vec<f64>> =
        shapes.iter().enumerate().map(|(i, shape)| values(shape.iter().product(), 7 + i as u64)).collect();
    let (y32, g32) = run(op, &vars(&inputs, shapes, DType::F32));
    let (y64, g64) = run(op, &vars(&inputs, shapes, DType::F64));
    assert_close(&format!("{name} {shapes:?} output"), &y32, &y64, 3e-6);
    for (i, (g32, g64)) in g32.iter().zip(&g64).enumerate() {
        assert_close(&format!("{name} {shapes:?} gradient {i}"), g32, g64, 1e-5);
        // Central differences at a few places.
        let step = 1e-5;
        for at in (0..g64.len()).step_by((g64.len() / 5).max(1)) {
            let mut moved = inputs.clone();
            moved[i][at] += step;
            let up = loss(op, &moved, shapes);
            moved[i][at] -= 2.0 * step;
            let slope = (up - loss(op, &moved, shapes)) / (2.0 * step);
            let error = (slope - g64[at]).abs();
            assert!(
                error <= 1e-5 * (1.0 + slope.abs()),
                "{name} {shapes:?} gradient {i}[{at}]: {}, differences say {slope}",
                g64[at]
            );
        }
    }
    // The same bits on one thread and on three.
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(op, &vars(&inputs, shapes, DType::F32)))
    };
    assert!(bits(1) == bits(3), "{name} {shapes:?}: results depend on the number of threads");
}
