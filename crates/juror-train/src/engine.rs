//! The loop that every stage of training shares: gradients, clipping, schedule, weight average, checkpoints, log.
//!
//! A stage gives a function from step to loss; everything random in it must follow from the step, so that a
//! resumed run goes on to the same bits. NaN or infinite loss stops the run at the last good checkpoint.
//!
//! Several processes ([`Collective`]) train as one: each makes the gradients of its share of the batch, their mean is clipped
//! and stepped on every rank alike, so that weights stay the same bits everywhere. Only the first rank writes.

use crate::log::{LOG_STEPS, Log};
use anyhow::{Context, Result, ensure};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use juror_nn::checkpoint::{CheckpointFolder, TrainingState};
use juror_nn::collective::Collective;
use juror_nn::optim::{AdamW, AdamWConfig, Ema, Schedule, clip_global_norm};
use juror_nn::params::Params;
use juror_nn::recompute::Tape;
use juror_nn::rng;
use rand::{Rng, RngExt};
use std::collections::BTreeMap;
use std::path::Path;

/// Optimisation settings of one stage.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Name of the stage, shown beside the progress bar.
    pub name: &'static str,
    /// Optimiser steps.
    pub steps: usize,
    /// Peak learning rate; a cosine takes it to 1 % at the end.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Largest global gradient norm.
    pub max_grad_norm: f64,
    /// Decay of the weight average.
    pub ema_decay: f64,
    /// Steps between checkpoints.
    pub save_steps: usize,
}

/// Where a stage trains, and from what.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// Folder of checkpoints and log.
    pub dir: &'a Path,
    /// Every random choice follows from it.
    pub seed: u64,
    /// Who trains together.
    pub world: &'a dyn Collective,
    /// Weights to start from; absent: drawn from the seed.
    pub start: Option<&'a BTreeMap<String, Tensor>>,
}

impl Stage<'_> {
    /// Parameters for the part of a model named `part`, whose names begin with it.
    ///
    /// # Errors
    /// When the weights to start from cannot be cast.
    pub fn params(&self, part: &str) -> Result<Params> {
        let seed = rng::derive_named(self.seed, part);
        let Some(start) = self.start else { return Ok(Params::seeded(seed, &Device::Cpu)) };
        Ok(Params::tensors_for_training(weights_of(start, part), seed, &Device::Cpu)?)
    }
}

/// The weights of the part of a model named `part`, whose names begin with it.
pub(crate) fn weights_of(weights: &BTreeMap<String, Tensor>, part: &str) -> BTreeMap<String, Tensor> {
    let own = weights.iter().filter(|(name, _)| name.starts_with(&format!("{part}.")));
    own.map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
}

/// A mask over `len` values that drops a share `rate` of them and enlarges the rest.
pub(crate) fn dropout(rate: f64, len: usize, rng: &mut impl Rng) -> impl Iterator<Item = f32> {
    let kept = (1.0 / (1.0 - rate)) as f32;
    (0..len).map(move |_| if rng.random::<f64>() < rate { 0.0 } else { kept })
}

/// The loss of one batch, and its named terms for the log. With several ranks: this rank's, such that the mean over ranks is
/// the loss of the whole batch.
pub struct BatchLoss {
    /// Scalar.
    pub loss: Tensor,
    /// Unweighted terms.
    pub terms: Vec<(&'static str, f64)>,
    /// What the batch is made of, told where its loss is no number.
    pub batch: Vec<String>,
}

/// The gradients of one step, for stages that make them themselves (several backward passes to a step).
pub struct StepGradients {
    /// Summed over the step; `None` where the step has nothing to teach: the weights stay.
    pub grads: Option<GradStore>,
    /// The loss.
    pub loss: f64,
    /// Whatever else is logged.
    pub terms: Vec<(String, f64)>,
    /// What the batch is made of, told where its loss is no number.
    pub batch: Vec<String>,
}

/// The value of a scalar tensor.
pub(crate) fn scalar(t: &Tensor) -> candle_core::Result<f64> {
    Ok(f64::from(t.to_scalar::<f32>()?))
}

impl Fit {
    /// Trains the variables of `params`, resuming from `dir` where a checkpoint is there; returns the averaged
    /// weights.
    ///
    /// # Errors
    /// When a batch fails, the loss is not finite, or a checkpoint cannot be written.
    pub fn run(
        &self,
        dir: &Path,
        params: &Params,
        world: &dyn Collective,
        mut batch_loss: impl FnMut(usize) -> Result<BatchLoss>,
    ) -> Result<BTreeMap<String, Tensor>> {
        self.run_gradients(dir, params, world, |step| {
            let BatchLoss { loss, terms, batch } = batch_loss(step)?;
            let value = scalar(&loss)?;
            let grads = if value.is_finite() { Some(loss.backward()?) } else { None };
            let terms = terms.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            Ok(StepGradients { grads, loss: value, terms, batch })
        })
    }

    /// As [`Fit::run`], for a stage that makes its gradients itself.
    ///
    /// # Errors
    /// As [`Fit::run`].
    pub fn run_gradients(
        &self,
        dir: &Path,
        params: &Params,
        world: &dyn Collective,
        mut gradients: impl FnMut(usize) -> Result<StepGradients>,
    ) -> Result<BTreeMap<String, Tensor>> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let variables = params.variables();
        let config = AdamWConfig { weight_decay: self.weight_decay, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(variables.clone(), config)?;
        let mut average = Ema::new(&variables, self.ema_decay)?;
        let folder = CheckpointFolder::new(dir, 2);
        let mut done = 0;
        if let Some(state) = folder.load_last(&Device::Cpu)? {
            done = state.step as usize;
            params.set(&state.weights)?;
            if let Some(saved) = &state.optimizer {
                optimizer.load_state(saved)?;
            }
            if let Some(saved) = state.average {
                average = Ema::resume(saved, self.ema_decay, state.step)?;
            }
            tracing::info!("{}: resuming at step {done} of {}", self.name, self.steps);
        }
        for (rank, other) in world.all_gather(&done.to_le_bytes())?.iter().enumerate() {
            ensure!(
                *other == done.to_le_bytes(),
                "{}: rank {} stands at step {done}, rank {rank} at another: do they share {}?",
                self.name,
                world.rank(),
                dir.display()
            );
        }
        let schedule =
            Schedule::Cosine { warmup: self.warmup_steps as u64, total: self.steps as u64, floor: 0.01 };
        let mut log = Log::open(dir, done, world)?;
        let bar = self.progress(done, world)?;
        for step in done..self.steps {
            let StepGradients { grads, loss, terms, batch } = gradients(step)?;
            let (grads, loss) = average_gradients(world, &variables, grads, loss)?;
            let broken = |what: &str, value: f64| {
                let (name, batch) = (self.name, batch.join(", "));
                format!(
                    "{name}: the {what} of step {step} is {value} (batch: {batch}); the last good checkpoint is kept"
                )
            };
            ensure!(loss.is_finite(), broken("loss", loss));
            let mut norm = 0.0;
            if let Some(mut grads) = grads {
                norm = clip_global_norm(&mut grads, &variables, self.max_grad_norm)?;
                ensure!(norm.is_finite(), broken("gradient", norm));
                optimizer.set_lr(self.learning_rate * schedule.factor(step as u64));
                optimizer.step(&grads)?;
            }
            // Also without a step, since a resumed average counts steps.
            average.update(&variables)?;
            let own = [("loss".to_owned(), loss), ("grad_norm".to_owned(), norm)];
            log.add(terms.into_iter().chain(own));
            if (step + 1) % LOG_STEPS == 0 {
                bar.set_message(log.write(step + 1, world)?.brief());
            }
            bar.inc(1);
            if world.is_first() && ((step + 1) % self.save_steps == 0 || step + 1 == self.steps) {
                let saved = folder.save(&TrainingState {
                    step: step as u64 + 1,
                    weights: params.tensors(),
                    optimizer: Some(optimizer.state()?),
                    average: Some(average.tensors().clone()),
                    seeds: BTreeMap::new(),
                    metadata: serde_json::Value::Null,
                });
                saved.with_context(|| {
                    format!(
                        "{}: the checkpoint of step {} cannot be saved; the last one is kept",
                        self.name,
                        step + 1
                    )
                })?;
            }
        }
        bar.finish_and_clear();
        // Nobody goes on to read what is not written yet.
        world.barrier()?;
        Ok(average.tensors().clone())
    }

    fn progress(&self, done: usize, world: &dyn Collective) -> Result<ProgressBar> {
        let style = "{prefix} [{bar:30}] {pos}/{len} {msg} {per_sec} {eta} left";
        let target =
            if world.is_first() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(self.steps as u64), target);
        let bar = bar.with_position(done as u64).with_prefix(self.name);
        bar.set_style(ProgressStyle::with_template(style)?);
        bar.reset_eta();
        Ok(bar)
    }
}

/// Adds the gradients of `loss` to those of the step so far; `tape` runs layers again where their graphs were not kept.
///
/// # Errors
/// When tensor work fails.
pub(crate) fn accumulate(
    grads: &mut Option<GradStore>,
    loss: &Tensor,
    tape: Option<Tape<'_>>,
) -> candle_core::Result<()> {
    let more = match tape {
        Some(tape) => tape.backward(loss)?,
        None => loss.backward()?,
    };
    match grads {
        Some(grads) => grads.extend(more),
        None => {
            *grads = Some(more);
            Ok(())
        }
    }
}

/// The mean over ranks of gradients and loss. A variable that has no gradient on any rank has none; where no rank has gradients,
/// there are none.
fn average_gradients(
    world: &dyn Collective,
    variables: &BTreeMap<String, Var>,
    grads: Option<GradStore>,
    loss: f64,
) -> Result<(Option<GradStore>, f64)> {
    if world.world_size() == 1 {
        return Ok((grads, loss));
    }
    let own = |var: &Var| grads.as_ref().and_then(|grads| grads.get(var.as_tensor()));
    // Loss, for each variable whether it has a gradient, then the gradients, zeros where there is none.
    let has = variables.values().map(|var| if own(var).is_some() { 1.0 } else { 0.0 });
    let head: Vec<f32> = std::iter::once(loss as f32).chain(has).collect();
    let device = variables.values().next().map_or(&Device::Cpu, |var| var.device());
    let mut parts = vec![Tensor::new(head.as_slice(), device)?];
    for var in variables.values() {
        parts.push(match own(var) {
            Some(grad) => grad.detach().flatten_all()?.to_dtype(DType::F32)?,
            None => Tensor::zeros(var.elem_count(), DType::F32, device)?,
        });
    }
    let mean = world.all_reduce_mean_tensor(&Tensor::cat(&parts, 0)?)?;
    let head: Vec<f32> = mean.narrow(0, 0, head.len())?.to_vec1()?;
    // An empty store of gradients has no other maker than a backward pass.
    let mut store = Tensor::zeros((), DType::F32, &Device::Cpu)?.backward()?;
    let (mut any, mut start) = (false, head.len());
    for (var, &share) in variables.values().zip(&head[1..]) {
        if share > 0.0 {
            any = true;
            let mean = mean.narrow(0, start, var.elem_count())?.reshape(var.shape())?;
            store.insert(var.as_tensor(), mean.to_dtype(var.dtype())?);
        }
        start += var.elem_count();
    }
    Ok((any.then_some(store), f64::from(head[0])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use juror_nn::collective::{CollectiveError, Place, Ring, Single};
    use juror_nn::params::Init;
    use std::net::TcpListener;
    use std::time::Duration;

    /// The mean over a batch of squared distances of `x` from numbers, of which each rank has its share; `y` learns on rank 0 only,
    /// `z` never.
    fn fit(dir: &Path, steps: usize, world: &dyn Collective) -> Result<BTreeMap<String, Tensor>> {
        let params = Params::seeded(1, &Device::Cpu);
        let [x, y, _z] = ["x", "y", "z"].map(|name| params.get_or_init(name, 3, Init::Normal(1.0)).unwrap());
        let fit = Fit {
            name: "test",
            steps,
            learning_rate: 0.1,
            warmup_steps: 2,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            ema_decay: 0.5,
            save_steps: 10,
        };
        fit.run(dir, &params, world, |step| {
            let batch: Vec<f64> = (0..4).map(|i| (step * 4 + i) as f64 % 5.0).collect();
            let own = &batch[world.share(4)];
            let each = world.world_size() as f64 / 4.0;
            let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
            for value in own {
                loss = (loss + ((&x - *value)?.sqr()?.sum_all()? * each)?)?;
            }
            if world.is_first() {
                loss = (loss + (y.sqr()?.sum_all()? * world.world_size() as f64)?)?;
            }
            let batch = own.iter().map(|value| format!("value {value}")).collect();
            Ok(BatchLoss { terms: vec![("first", own[0])], loss, batch })
        })
    }

    fn numbers(weights: &BTreeMap<String, Tensor>) -> Vec<f32> {
        weights.values().flat_map(|t| t.to_vec1::<f32>().unwrap()).collect()
    }

    /// What both of two ranks, each on a thread, make of it.
    fn pair<T: Send>(work: impl Fn(Ring) -> T + Sync) -> [T; 2] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let work = &work;
        std::thread::scope(|scope| {
            let rank = |rank| {
                let place = Place {
                    rank,
                    world_size: 2,
                    host: "127.0.0.1".into(),
                    port,
                    timeout: Duration::from_secs(20),
                };
                scope.spawn(move || work(Ring::join(&place, 0).unwrap()))
            };
            let ranks = [rank(0), rank(1)];
            ranks.map(|rank| rank.join().unwrap())
        })
    }

    #[test]
    fn two_ranks_train_what_one_does_and_resume() {
        let dir = tempfile::tempdir().unwrap();
        let one = numbers(&fit(&dir.path().join("one"), 40, &Single).unwrap());
        let both = dir.path().join("both");
        let train = || pair(|ring| numbers(&fit(&both, 40, &ring).unwrap()));
        let two = train();
        assert_eq!(two[0], two[1], "the same bits on every rank");
        assert!(one.iter().zip(&two[0]).all(|(a, b)| (a - b).abs() < 1e-5), "{one:?} {two:?}");
        assert!(one[..3].iter().all(|x| (x - 2.0).abs() < 1.5) && one[6..] == two[0][6..], "{one:?}");

        let text = std::fs::read_to_string(both.join("log.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(text.lines().count(), 2, "one rank writes");
        // 4 step + {0, 2} modulo 5, over 20 steps and both ranks.
        assert_eq!(line["means"]["first"], 2.0);

        // What a kill before the last checkpoint leaves.
        std::fs::remove_file(both.join("step-00000040.safetensors")).unwrap();
        assert_eq!(train(), two);
    }

    #[test]
    fn a_loss_that_is_no_number_stops_the_run_and_names_its_batch() {
        let dir = tempfile::tempdir().unwrap();
        let params = Params::seeded(1, &Device::Cpu);
        let x = params.get_or_init("x", 1, Init::Normal(1.0)).unwrap();
        let fit = Fit {
            name: "test",
            steps: 9,
            learning_rate: 0.1,
            warmup_steps: 0,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            ema_decay: 0.5,
            save_steps: 2,
        };
        let run = |broken: usize| {
            fit.run(dir.path(), &params, &Single, |step| {
                let by = if step == broken { f64::NAN } else { 1.0 };
                let loss = (x.sqr()?.sum_all()? * by)?;
                Ok(BatchLoss { loss, terms: Vec::new(), batch: vec![format!("clip-{step}")] })
            })
        };
        let error = run(5).unwrap_err().to_string();
        assert!(error.contains("the loss of step 5 is NaN (batch: clip-5)"), "{error}");
        assert!(dir.path().join("step-00000004.safetensors").exists(), "the last good checkpoint is kept");
        run(9).unwrap();
    }

    #[test]
    fn ranks_that_stand_elsewhere_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let folders = ["0", "1"].map(|name| dir.path().join(name));
        fit(&folders[1], 20, &Single).unwrap();
        let errors = pair(|ring| fit(&folders[ring.rank()], 40, &ring).unwrap_err());
        assert!(errors[0].to_string().contains("rank 1 at another: do they share"), "{}", errors[0]);
    }

    #[test]
    fn a_rank_that_fails_stops_all() {
        let dir = tempfile::tempdir().unwrap();
        let errors = pair(|ring| if ring.is_first() { fit(dir.path(), 20, &ring).err() } else { None });
        let error = errors[0].as_ref().unwrap().downcast_ref::<CollectiveError>().unwrap();
        assert!(matches!(error, CollectiveError::Lost { rank: 1, .. }), "{error}");
    }
}
