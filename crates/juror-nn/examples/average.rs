//! Averages numbers among ranks as training does, checks the means and prints how long they take; `scripts/check-ranks.sh` runs it.
//!
//! `average cpu|cuda [NUMBERS] [ROUNDS]`: so many f32, so many times. Who takes part stands in the environment (docs/training.md).
#![allow(clippy::print_stdout, reason = "what this is for")]

use candle_core::{Device, Tensor};
use juror_nn::collective::{from_env, local_rank};
use std::error::Error;
use std::time::Instant;

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            std::process::ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let gpu = match args.next().as_deref() {
        Some("cpu") => None,
        Some("cuda") => Some(local_rank(|name| std::env::var(name).ok())?),
        other => Err(format!("{} is no device; allowed are cpu and cuda", other.unwrap_or("nothing")))?,
    };
    let mut number = |default| args.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (numbers, rounds) = (number(1 << 24)?, number(20)?);
    let world = from_env(0, gpu)?;
    let device = gpu.map_or(Ok(Device::Cpu), Device::new_cuda)?;
    let (rank, ranks) = (world.rank() as f32, world.world_size());
    // Means that f32 holds exactly.
    let values = |shift: f32| (0..numbers).map(|i| (i % 1000) as f32 + shift).collect::<Vec<f32>>();
    let own = Tensor::from_vec(values(rank), numbers, &device)?;
    let wanted = Tensor::from_vec(values((ranks - 1) as f32 / 2.0), numbers, &device)?;
    let mean = world.all_reduce_mean_tensor(&own)?;
    let off = (mean - &wanted)?.abs()?.max_all()?.to_scalar::<f32>()?;
    if off > 1e-3 {
        Err(format!("rank {rank}: a mean is off by {off}"))?;
    }
    world.barrier()?;
    if world.is_first() {
        println!("{ranks} ranks: the means of {numbers} numbers are right");
    }
    let begin = Instant::now();
    for _ in 0..rounds {
        world.all_reduce_mean_tensor(&own)?;
    }
    if world.is_first() && rounds > 0 {
        let secs = begin.elapsed().as_secs_f64() / rounds as f64;
        let rate = 4e-9 * numbers as f64 / secs;
        println!("{ranks} ranks: {numbers} numbers in {:.3} ms, {rate:.2} GB/s", 1e3 * secs);
    }
    Ok(world.barrier()?)
}
