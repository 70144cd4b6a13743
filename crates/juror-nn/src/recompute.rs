//! Block checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost"): a block runs without
//! keeping its graph, only its input stays; the backward pass runs it once more and differentiates that.
//!
//! ```text
//! let mut tape = Tape::new();
//! let mut h = embed(x)?;
//! for block in &blocks { h = tape.block(&h, |h| block.forward(h))?; }
//! let grads = tape.backward(&loss(&h)?)?;   // instead of loss.backward()
//! ```
//! The block must be a pure function of its input and of variables (draw dropout masks from a fixed seed). Peak
//! memory is the inputs of all blocks and the graph of one; cost is one more forward pass.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId, Var};

type BlockFn<'a> = Box<dyn Fn(&Tensor) -> Result<Tensor> + 'a>;

struct Block<'a> {
    run: BlockFn<'a>,
    /// The input as the caller's graph knows it.
    input: Tensor,
    /// The output, a leaf of the graph behind it, so that candle keeps its gradient.
    output: Var,
}

/// Remembers blocks in the order they ran.
#[derive(Default)]
pub struct Tape<'a> {
    blocks: Vec<Block<'a>>,
}

impl<'a> Tape<'a> {
    /// An empty tape.
    pub fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    /// Runs `run(input)` and drops its graph.
    pub fn block(&mut self, input: &Tensor, run: impl Fn(&Tensor) -> Result<Tensor> + 'a) -> Result<Tensor> {
        let output = Var::from_tensor(&run(&input.detach())?.detach())?;
        let tensor = output.as_tensor().clone();
        self.blocks.push(Block { run: Box::new(run), input: input.clone(), output });
        Ok(tensor)
    }

    /// Gradients of the scalar `loss` for every variable, through all blocks.
    pub fn backward(self, loss: &Tensor) -> Result<GradStore> {
        let mut grads = loss.backward()?;
        for block in self.blocks.into_iter().rev() {
            let Some(grad_output) = grads.remove(block.output.as_tensor()) else { continue };
            let input = Var::from_tensor(&block.input.detach())?;
            let mut inner = differentiate((block.run)(input.as_tensor())?, &grad_output)?;
            let grad_input = inner.remove(input.as_tensor());
            grads.extend(inner)?;
            let Some(grad_input) = grad_input else { continue };
            if block.input.is_variable() {
                let total = match grads.remove(&block.input) {
                    Some(sum) => (sum + grad_input)?,
                    None => grad_input,
                };
                grads.insert(&block.input, total);
            } else if block.input.track_op() {
                // A plain piece of graph lies before this block: send the gradient on through it.
                grads.extend(differentiate(block.input, &grad_input)?)?;
            }
        }
        Ok(grads)
    }
}

/// Gradients behind `output`, given its own. They hold nothing of the graph: candle's own may, and so kept every block alive.
fn differentiate(output: Tensor, grad: &Tensor) -> Result<GradStore> {
    let factor = grad.detach();
    let mut grads = (output * &factor)?.sum_all()?.backward()?;
    grads.remove(&factor);
    let ids: Vec<TensorId> = grads.get_ids().copied().collect();
    for id in ids {
        if let Some(grad) = grads.get_id(id).map(Tensor::detach) {
            grads.insert_id(id, grad);
        }
    }
    Ok(grads)
}
