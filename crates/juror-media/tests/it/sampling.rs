//! Which frames are sampled: properties of plans, and the frames of real files.

use juror_media::{Moment, SamplingPlan, TimeWindow, Video};
use proptest::prelude::*;

use crate::media::{open, pictures};

fn moments(video: &Video, plan: &SamplingPlan) -> Vec<Moment> {
    let mut stream = video.moments(plan).expect("moments");
    let mut out = Vec::new();
    while let Some(moment) = stream.next_moment().expect("a moment") {
        out.push(moment);
    }
    out
}

/// Checks moments against all frames: shown is the last frame at or before each target, next is the one after it.
fn assert_right(name: &str, plan: &SamplingPlan, with_next: bool) {
    let video = open(name);
    let all = pictures(&video);
    let start = all[0].0;
    let targets = plan.targets_secs(video.info().duration_secs).expect("targets");
    let got = moments(&video, plan);
    let mut served = 0;
    for moment in &got {
        assert_eq!(moment.targets.start, served, "{name}: no target is skipped or served twice");
        served = moment.targets.end;
        for &target in &targets[moment.targets.clone()] {
            let index = all.iter().rposition(|(t, _)| t - start <= target).unwrap_or(0);
            assert_eq!(moment.shown.pts_secs, all[index].0, "{name}, target {target}");
            assert!(moment.shown.picture == all[index].1, "{name}, target {target}");
            let next = all.get(index + 1).filter(|_| with_next);
            assert_eq!(
                moment.next.as_ref().map(|f| f.pts_secs),
                next.map(|f| f.0),
                "{name}, target {target}"
            );
            assert!(
                moment.next.as_ref().map(|f| &f.picture) == next.map(|f| &f.1),
                "{name}, target {target}"
            );
        }
    }
    assert_eq!(served, targets.len(), "{name}: all targets are served");
}

#[test]
fn the_frame_shown_at_each_target_is_taken() {
    let names = [
        "plain.mp4",
        "plain.ts",
        "offset.mkv",
        "vfr.mp4",
        "vfr.mkv",
        "edit-list.mp4",
        "one-frame.mp4",
        "still.png",
        "truncated.mp4",
        "truncated.mkv",
        "no-duration.mkv",
        "raw.h264",
        "damaged.mp4",
        "longer-audio.mkv",
    ];
    for name in names {
        for count in [1, 3, 8, 70] {
            let plan = SamplingPlan::evenly(count).expect("a plan");
            assert_right(name, &plan, false);
            assert_right(name, &plan.with_next_frame(), true);
        }
        assert_right(name, &SamplingPlan::per_second(4.0).expect("a plan").with_next_frame(), true);
    }
}

#[test]
fn windows_and_budgets_sample_the_same_frames_as_a_full_pass() {
    for name in ["plain.mp4", "plain.ts", "vfr.mp4", "raw.h264", "offset.mkv"] {
        for budget in [0.001, 0.1, 0.5, 1.9] {
            let plan = SamplingPlan::evenly(5).and_then(|p| p.with_next_frame().decoding_at_most(budget));
            assert_right(name, &plan.expect("a plan"), true);
        }
    }
    let window = TimeWindow::new(Some(0.5), Some(1.1)).expect("a window");
    let plan = SamplingPlan::evenly(4).expect("a plan").within(window);
    let times: Vec<f64> = moments(&open("plain.mp4"), &plan).iter().map(|m| m.shown.pts_secs).collect();
    let expected = [0.56, 0.72, 0.84, 1.0]; // targets 0.575, 0.725, 0.875, 1.025
    assert!(times.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{times:?}");
}

#[test]
fn a_long_file_is_seen_in_parts() {
    let video = open("two-hours.mkv");
    let plan =
        SamplingPlan::evenly(4).and_then(|p| p.with_next_frame().decoding_at_most(40.0)).expect("a plan");
    assert_eq!(plan.windows(video.info().duration_secs).expect("windows").len(), 4);
    let got = moments(&video, &plan);
    let times: Vec<(f64, f64)> =
        got.iter().map(|m| (m.shown.pts_secs, m.next.as_ref().map_or(f64::NAN, |f| f.pts_secs))).collect();
    assert_eq!(times, [(900.0, 901.0), (2700.0, 2701.0), (4500.0, 4501.0), (6300.0, 6301.0)]);
}

#[test]
fn a_still_is_one_moment_for_all_targets() {
    let got = moments(&open("still.png"), &SamplingPlan::evenly(8).expect("a plan").with_next_frame());
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].targets.clone(), got[0].next.is_none()), (0..8, true));
}

#[test]
fn plans_are_validated() {
    assert!(SamplingPlan::evenly(0).is_err());
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1001.0] {
        assert!(SamplingPlan::per_second(rate).is_err(), "{rate}");
    }
    for budget in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(SamplingPlan::evenly(1).expect("a plan").decoding_at_most(budget).is_err(), "{budget}");
    }
    assert!(SamplingPlan::per_second(1000.0).expect("a plan").targets_secs(1e6).is_err());
}

proptest! {
    #[test]
    fn targets_are_ascending_and_inside(duration in 0.0f64..20000.0, count in 1usize..300) {
        let targets = SamplingPlan::evenly(count).expect("a plan").targets_secs(duration).expect("targets");
        prop_assert_eq!(targets.len(), count);
        prop_assert!(targets.windows(2).all(|pair| pair[0] <= pair[1]));
        prop_assert!(targets.iter().all(|&t| (0.0..=duration).contains(&t)));
        // Centres of equal parts: the first lies as far from the start as the last from the end.
        prop_assert!((targets[0] - (duration - targets[count - 1])).abs() < 1e-6);
    }

    #[test]
    fn a_rate_gives_its_number_of_targets(duration in 0.01f64..2000.0, rate in 0.1f64..60.0) {
        let targets = SamplingPlan::per_second(rate).expect("a plan").targets_secs(duration).expect("targets");
        prop_assert!((targets.len() as f64 - duration * rate).abs() <= 1.0);
        prop_assert!(targets.iter().all(|&t| (0.0..=duration).contains(&t)));
        prop_assert!(targets.windows(2).all(|pair| (pair[1] - pair[0] - 1.0 / rate).abs() < 1e-6));
    }

    #[test]
    fn windows_hold_every_target_do_not_touch_and_keep_the_budget(
        duration in 0.5f64..20000.0, count in 1usize..100, budget in 0.01f64..100.0, from in 0.0f64..0.4, to in 0.5f64..1.0,
    ) {
        let window = TimeWindow::new(Some(from * duration), Some(to * duration)).expect("a window");
        let plan = SamplingPlan::evenly(count).and_then(|p| p.within(window).decoding_at_most(budget)).expect("a plan");
        let parts: Vec<(f64, f64)> = plan.windows(duration).expect("windows").iter()
            .map(|w| (w.start_secs().unwrap_or(0.0), w.end_secs().unwrap_or(duration))).collect();
        prop_assert!(parts.windows(2).all(|pair| pair[0].1 < pair[1].0));
        let length: f64 = parts.iter().map(|p| p.1 - p.0).sum();
        prop_assert!(length <= budget.min((to - from) * duration) + 1e-6);
        for target in plan.targets_secs(duration).expect("targets") {
            prop_assert!(parts.iter().any(|p| p.0 <= target && target < p.1), "{} in {:?}", target, parts);
        }
    }
}
