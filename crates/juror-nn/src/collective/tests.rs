#![allow(clippy::unwrap_used, reason = "a test that panics has found something")]

use super::*;
use candle_core::Device;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn place(rank: usize, world_size: usize, port: u16, secs: f64) -> Place {
    Place { rank, world_size, host: "127.0.0.1".into(), port, timeout: Duration::from_secs_f64(secs) }
}

/// Runs `work` on every rank of a world, each on a thread.
fn world<T: Send>(world_size: usize, work: impl Fn(Ring) -> T + Sync) -> Vec<T> {
    world_within(world_size, 20.0, work)
}

/// As [`world`], with another time limit.
pub(super) fn world_within<T: Send>(world_size: usize, secs: f64, work: impl Fn(Ring) -> T + Sync) -> Vec<T> {
    let port = free_port();
    let work = &work;
    std::thread::scope(|scope| {
        let ranks = (0..world_size).map(|rank| {
            scope.spawn(move || work(Ring::join(&place(rank, world_size, port, secs), 7).unwrap()))
        });
        let ranks: Vec<_> = ranks.collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn every_rank_ends_with_the_same_bits_of_the_mean() {
    for (world_size, count) in [(2, 1001), (3, 1000), (4, 2), (5, 0)] {
        let number = |rank: usize, i: usize| ((rank * 7919 + i * 104_729) % 1000) as f32 / 7.0;
        let means = world(world_size, |ring| {
            let mut values: Vec<f32> = (0..count).map(|i| number(ring.rank(), i)).collect();
            ring.all_reduce_mean(&mut values).unwrap();
            ring.barrier().unwrap();
            values
        });
        for mean in &means {
            assert_eq!(mean, &means[0]);
        }
        for (i, mean) in means[0].iter().enumerate() {
            let exact =
                (0..world_size).map(|rank| f64::from(number(rank, i))).sum::<f64>() / world_size as f64;
            assert!((f64::from(*mean) - exact).abs() < 1e-4, "{world_size} {i}: {mean} {exact}");
        }
    }
}

#[test]
fn tensors_are_averaged_in_their_shape() {
    let means = world(3, |ring| {
        let own = Tensor::full(ring.rank() as f32, (2, 3), &Device::Cpu).unwrap();
        let mean = ring.all_reduce_mean_tensor(&own.t().unwrap()).unwrap();
        mean.to_vec2::<f32>().unwrap()
    });
    assert_eq!(means, vec![vec![vec![1.0; 2]; 3]; 3]);
}

#[test]
fn all_hear_what_one_says() {
    let long: Vec<u8> = (0..20_000_000u32).map(|i| i as u8).collect(); // several frames
    let heard = world(3, |ring| {
        let own = if ring.rank() == 1 { long.clone() } else { Vec::new() };
        let all = ring.all_gather(format!("rank {}", ring.rank()).as_bytes()).unwrap();
        (ring.broadcast(1, own).unwrap() == long, all)
    });
    for (same, all) in heard {
        assert!(same);
        assert_eq!(all, [b"rank 0", b"rank 1", b"rank 2"]);
    }
}

#[test]
fn shares_are_all_there_is_and_do_not_meet() {
    struct At(usize, usize);
    impl Collective for At {
        fn rank(&self) -> usize {
            self.0
        }
        fn world_size(&self) -> usize {
            self.1
        }
        fn all_reduce_mean(&self, _: &mut [f32]) -> Result<()> {
            Ok(())
        }
        fn broadcast(&self, _: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
            Ok(bytes)
        }
    }
    for (world_size, count) in [(1, 5), (2, 5), (3, 3), (4, 2)] {
        let all: Vec<usize> = (0..world_size).flat_map(|rank| At(rank, world_size).share(count)).collect();
        assert_eq!(all, (0..count).collect::<Vec<_>>());
    }
}

#[test]
fn the_rank_that_leaves_is_named_by_all() {
    let errors = world(4, |ring| {
        if ring.rank() == 2 {
            return String::new();
        }
        ring.barrier().unwrap_err().to_string()
    });
    for rank in [0, 1, 3] {
        assert!(errors[rank].starts_with("rank 2 is missing"), "{rank}: {}", errors[rank]);
    }
}

#[test]
fn a_watch_sees_who_is_gone_and_keeps_what_others_say() {
    let watched = world(3, |ring| {
        if ring.rank() == 0 {
            // Rank 1 hears this while it watches; rank 0 goes afterwards.
            ring.broadcast(0, vec![7; 1000]).unwrap();
            return (Vec::new(), String::new());
        }
        let mut missing = String::new();
        while missing.is_empty() {
            missing = ring.watch().err().map(|error| error.to_string()).unwrap_or_default();
            std::thread::yield_now();
        }
        (ring.broadcast(0, Vec::new()).unwrap(), missing)
    });
    for (heard, missing) in &watched[1..] {
        assert_eq!(heard, &[7; 1000]);
        assert!(missing.starts_with("rank 0 is missing"), "{missing}");
    }
}

#[test]
fn the_rank_that_does_not_come_is_named() {
    let port = free_port();
    let errors: Vec<String> = std::thread::scope(|scope| {
        let ranks = [0, 2].map(|rank| {
            scope.spawn(move || Ring::join(&place(rank, 3, port, 0.6), 7).err().unwrap().to_string())
        });
        ranks.map(|rank| rank.join().unwrap()).into()
    });
    assert_eq!(errors[0], "rank 1 of 3 did not join within 0.6 s");
    assert!(errors[1].contains("turned this process away: rank 1 of 3 did not join"), "{}", errors[1]);
    let alone = Ring::join(&place(1, 2, free_port(), 0.2), 7).err().unwrap().to_string();
    assert!(alone.starts_with("rank 0 of 2 did not join within 0.2 s (MASTER_ADDR"), "{alone}");
}

#[test]
fn strangers_at_the_door_change_nothing() {
    let port = free_port();
    let knock = |say: &[u8]| {
        let begin = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(error) => assert!(begin.elapsed() < Duration::from_secs(10), "{error}"),
            }
        };
        // It may be closed on us at any time.
        let _ = stream.write_all(say);
        stream
    };
    let framed = |json: &str| [&(json.len() as u32).to_le_bytes(), json.as_bytes()].concat();
    std::thread::scope(|scope| {
        let first = scope.spawn(move || {
            let ring = Ring::join(&place(0, 2, port, 20.0), 7).unwrap();
            ring.all_gather(b"first").unwrap()
        });
        let _silent = knock(b"");
        let _half = knock(&[9, 0, 0, 0, b'{']);
        let mut others = [
            knock(b"GET / HTTP/1.1\r\nHost: juror\r\n\r\n"),
            knock(&[0xff; 4096]),
            knock(&framed("{\"join\":\"me\"}")),
            knock(&framed("{\"ring\":{\"token\":1,\"rank\":1}}")),
            knock(&framed(&"[".repeat(60_000))),
        ];
        for stream in &mut others {
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut byte = [0];
            // Closed without a word; where our bytes were left unread, by a reset.
            assert!(stream.read(&mut byte).map_or(true, |n| n == 0));
        }
        let other_job = Ring::join(&place(1, 2, port, 5.0), 8).err().unwrap().to_string();
        assert!(
            other_job.ends_with("its version, command, configuration or JUROR_COLLECTIVE is another"),
            "{other_job}"
        );
        let other_world = Ring::join(&place(2, 3, port, 5.0), 7).err().unwrap().to_string();
        assert!(other_world.ends_with("its WORLD_SIZE is 3, here it is 2"), "{other_world}");
        let second = Ring::join(&place(1, 2, port, 20.0), 7).unwrap();
        assert_eq!(second.all_gather(b"second").unwrap(), [&b"first"[..], b"second"]);
        assert_eq!(first.join().unwrap().len(), 2);
    });
}

#[test]
fn the_environment_is_read_as_torchrun_sets_it() {
    let read = |set: &[(&str, &str)]| {
        Place::from_variables(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    };
    let all = [("WORLD_SIZE", "2"), ("RANK", "1"), ("MASTER_ADDR", "node0"), ("MASTER_PORT", "29500")];
    let place = read(&all).unwrap().unwrap();
    assert_eq!((place.rank, place.world_size, place.port), (1, 2, 29500));
    assert_eq!((place.host.as_str(), place.timeout), ("node0", Duration::from_secs(300)));
    let with = |name: &'static str, value: &'static str| {
        let mut set = vec![(name, value)];
        set.extend(all);
        read(&set)
    };
    assert_eq!(with("TORCHELASTIC_USE_AGENT_STORE", "True").unwrap().unwrap().port, 29501);
    assert_eq!(with("WORLD_SIZE", "1").unwrap(), None);
    assert_eq!(read(&all[1..]).unwrap(), None);
    for (name, value, message) in [
        ("RANK", "2", "RANK is `2`, a number from 0, below WORLD_SIZE, is needed"),
        ("WORLD_SIZE", "two", "WORLD_SIZE is `two`, a number of processes from 1 to 1024 is needed"),
        ("MASTER_PORT", "0", "MASTER_PORT is `0`, a port from 1 to 65534 is needed"),
        (
            "JUROR_RANK_TIMEOUT_SECS",
            "0",
            "JUROR_RANK_TIMEOUT_SECS is `0`, seconds from 1 to 86400 are needed",
        ),
    ] {
        assert_eq!(with(name, value).unwrap_err().to_string(), message);
    }
    let lacking = read(&all[..2]).unwrap_err().to_string();
    assert_eq!(lacking, "MASTER_ADDR is not set, the name or address of rank 0's machine is needed");
}
