//! A calibration as text: the figures, then a row for each bin.

use juror::Calibration;

use super::line;

/// The text of `calibration`.
pub fn text(calibration: &Calibration) -> String {
    let mut text = String::new();
    let Calibration { n, votes, agreement, expected_calibration_error, brier, fitted, .. } = calibration;
    line(&mut text, &format!("{n} pairs, {votes} choices"));
    line(&mut text, &format!("on the side of the margin    {agreement:.4}"));
    line(&mut text, &format!("expected calibration error   {expected_calibration_error:.4}"));
    line(&mut text, &format!("Brier score                  {brier:.4}"));
    let (slope, error) = (fitted.slope, fitted.expected_calibration_error);
    line(
        &mut text,
        &format!(
            "fitted: {slope:.3} log-odds a point, calibration error {error:.4}, Brier {:.4}",
            fitted.brier
        ),
    );
    line(&mut text, "");
    line(&mut text, "probability  told   came true  95 % interval   choices");
    for bin in &calibration.bins {
        let [lo, hi] = bin.ci95;
        line(
            &mut text,
            &format!(
                "{:.1} to {:.1}   {:.3}  {:.3}      {lo:.3} to {hi:.3}  {}",
                bin.lo, bin.hi, bin.predicted, bin.observed, bin.votes
            ),
        );
    }
    text
}
