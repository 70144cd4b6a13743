//! What benchmarks time with.

use std::time::Instant;

/// Processor seconds of all threads so far (clock ticks of 10 ms; 0 where there is no `/proc`).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Median wall time and mean processor time of at least 5 runs and 1.5 seconds, in milliseconds.
pub(crate) fn measure(mut run: impl FnMut()) -> (f64, f64) {
    run();
    let (mut times, begin, cpu) = (Vec::new(), Instant::now(), cpu_secs());
    while times.len() < 5 || begin.elapsed().as_secs_f64() < 1.5 {
        let start = Instant::now();
        run();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let cpu = (cpu_secs() - cpu) * 1e3 / times.len() as f64;
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], cpu)
}
