//! A ring of processes over TCP: each hears only the rank before it and speaks only to the rank behind it.
//!
//! A mean goes around in two turns (Patarasuk & Yuan 2009): the numbers are cut into as many parts as there are ranks, each part is
//! added up along the ring, in an order that never changes, and its sum then copied along: 2 (n - 1) / n of the numbers pass
//! each connection, and all ranks end with the same bits.
//!
//! Frames are `kind: u8, length: u32 (little-endian), payload`. A thread reads what comes, so that all may speak at once; another
//! says `ALIVE` all the while, so that a rank may work for as long as it likes. One that is silent for the time limit, or closes its
//! connection, is missing; who notices tells the rank behind (`MISSING`), so that all name the same one. Who waits for something that
//! does not come around the ring looks now and then whether all are still there ([`Ring::watch`]).

use super::greeting::{self, Place, network};
use super::{Collective, CollectiveError, Result};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Numbers or bytes.
const DATA: u8 = 1;
/// A sign of life, empty.
const ALIVE: u8 = 2;
/// A rank that is missing, as u32.
const MISSING: u8 = 3;
/// Bytes of a frame; longer data goes in several.
const LONGEST: usize = 1 << 24;
/// A neighbour that has just gone may have said why.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// A rank of a ring.
pub struct Ring {
    rank: usize,
    world_size: usize,
    timeout: Duration,
    ear: Mutex<Ear>,
    behind: Arc<Mutex<TcpStream>>,
    before: TcpStream,
    /// Who was missed first, and how it was noticed: others leave because of it.
    lost: OnceLock<(usize, String)>,
    /// Dropped with the ring, which ends the thread that says `ALIVE`.
    _alive: mpsc::Sender<()>,
}

/// What comes from the rank before.
struct Ear {
    heard: Receiver<Heard>,
    /// Data that came while nobody had asked for it yet.
    kept: VecDeque<Vec<u8>>,
    /// When something was last taken from `heard`.
    last: Instant,
}

enum Heard {
    Data(Vec<u8>),
    Alive,
    Missing(usize),
    Garbled(String),
    Closed,
}

impl Ring {
    /// Waits for all ranks of `place`'s world; `job` must be equal on all of them.
    ///
    /// # Errors
    /// When ranks do not come in time, or this one is turned away.
    pub fn join(place: &Place, job: u64) -> Result<Self> {
        let greeting::Neighbours { before, behind } = greeting::meet(place, job)?;
        let (hear, heard) = mpsc::channel();
        let reader = before.try_clone().map_err(network("share a connection".into()))?;
        std::thread::spawn(move || listen(reader, &hear));
        let behind = Arc::new(Mutex::new(behind));
        let (alive, ended) = mpsc::channel::<()>();
        let (speaker, every) = (Arc::clone(&behind), (place.timeout / 4).min(Duration::from_secs(5)));
        std::thread::spawn(move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                // Who is gone is noticed where something is wanted of it.
                if write_frame(&mut lock(&speaker), ALIVE, &[]).is_err() {
                    break;
                }
            }
        });
        let Place { rank, world_size, timeout, .. } = *place;
        let ear = Mutex::new(Ear { heard, kept: VecDeque::new(), last: Instant::now() });
        Ok(Self { rank, world_size, timeout, ear, behind, before, lost: OnceLock::new(), _alive: alive })
    }

    fn before(&self) -> usize {
        (self.rank + self.world_size - 1) % self.world_size
    }

    fn behind(&self) -> usize {
        (self.rank + 1) % self.world_size
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        let mut stream = lock(&self.behind);
        let mut parts = bytes.chunks(LONGEST);
        // No bytes are a frame too.
        let first = parts.next().unwrap_or_default();
        for part in std::iter::once(first).chain(parts) {
            if let Err(error) = write_frame(&mut stream, DATA, part) {
                drop(stream);
                return Err(self.unheard(&error));
            }
        }
        Ok(())
    }

    /// The rank behind does not listen: gone itself, or told that another is missing.
    fn unheard(&self, error: &io::Error) -> CollectiveError {
        let ear = lock(&self.ear);
        while let Ok(heard) = ear.heard.recv_timeout(LAST_WORDS) {
            if let Heard::Missing(rank) = heard {
                return self.missing(rank, "another rank says so");
            }
        }
        self.missing(self.behind(), &error.to_string())
    }

    /// The next `length` bytes from the rank before.
    fn receive(&self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = self.frame()?;
        while bytes.len() < length && !bytes.is_empty() {
            bytes.extend(self.frame()?);
        }
        if bytes.len() == length { Ok(bytes) } else { Err(self.garbled(bytes.len(), length)) }
    }

    fn garbled(&self, found: usize, wanted: usize) -> CollectiveError {
        CollectiveError::Garbled {
            rank: self.before(),
            what: format!("{found} bytes where {wanted} are due"),
        }
    }

    fn frame(&self) -> Result<Vec<u8>> {
        let ear = &mut *lock(&self.ear);
        if let Some(bytes) = ear.kept.pop_front() {
            return Ok(bytes);
        }
        loop {
            let heard = match ear.heard.recv_timeout(self.timeout) {
                Ok(heard) => heard,
                Err(RecvTimeoutError::Disconnected) => Heard::Closed,
                Err(RecvTimeoutError::Timeout) => return Err(self.silent()),
            };
            ear.last = Instant::now();
            if let Some(bytes) = self.data(heard)? {
                return Ok(bytes);
            }
        }
    }

    /// The bytes, where these were heard and not a sign of life.
    fn data(&self, heard: Heard) -> Result<Option<Vec<u8>>> {
        let before = self.before();
        match heard {
            Heard::Data(bytes) => Ok(Some(bytes)),
            Heard::Alive => Ok(None),
            Heard::Missing(rank) => Err(self.missing(rank, "another rank says so")),
            Heard::Garbled(what) => Err(CollectiveError::Garbled { rank: before, what }),
            Heard::Closed => Err(self.missing(before, "it closed the connection")),
        }
    }

    fn silent(&self) -> CollectiveError {
        self.missing(self.before(), &format!("silent for {} s", self.timeout.as_secs_f64()))
    }

    /// Tells the rank behind, and makes the error.
    fn missing(&self, rank: usize, reason: &str) -> CollectiveError {
        let (rank, reason) = self.lost.get_or_init(|| (rank, reason.to_owned()));
        // It may be the very one that is missing.
        let _ = write_frame(&mut lock(&self.behind), MISSING, &(*rank as u32).to_le_bytes());
        CollectiveError::Lost { rank: *rank, reason: reason.clone() }
    }
}

/// For waits that the ring takes no part in.
#[cfg(any(test, feature = "cuda"))]
impl Ring {
    /// How long a rank may be silent.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether all ranks are still there, as far as is known without waiting.
    ///
    /// # Errors
    /// The rank that is missing.
    pub(super) fn watch(&self) -> Result<()> {
        let ear = &mut *lock(&self.ear);
        loop {
            let heard = match ear.heard.try_recv() {
                Ok(heard) => heard,
                Err(mpsc::TryRecvError::Disconnected) => Heard::Closed,
                Err(mpsc::TryRecvError::Empty) if ear.last.elapsed() < self.timeout => return Ok(()),
                Err(mpsc::TryRecvError::Empty) => return Err(self.silent()),
            };
            ear.last = Instant::now();
            ear.kept.extend(self.data(heard)?);
        }
    }
}

impl Collective for Ring {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn all_reduce_mean(&self, values: &mut [f32]) -> Result<()> {
        let (n, rank, count) = (self.world_size, self.rank, values.len());
        let part = |i: usize| {
            let i = i % n;
            count * i / n..count * (i + 1) / n
        };
        let send = |values: &[f32]| {
            self.send(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
        };
        let receive = |length: usize| -> Result<Vec<f32>> {
            let bytes = self.receive(4 * length)?;
            let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            Ok(bytes.chunks_exact(4).map(number).collect())
        };
        // `+ n` keeps the numbers of parts from falling below 0.
        for turn in 0..n - 1 {
            send(&values[part(rank + n - turn)])?;
            let own = &mut values[part(rank + n - turn - 1)];
            let sums = receive(own.len())?;
            own.iter_mut().zip(sums).for_each(|(own, sum)| *own += sum);
        }
        for turn in 0..n - 1 {
            send(&values[part(rank + n + 1 - turn)])?;
            let own = &mut values[part(rank + n - turn)];
            own.copy_from_slice(&receive(own.len())?);
        }
        values.iter_mut().for_each(|value| *value /= n as f32);
        Ok(())
    }

    fn broadcast(&self, root: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let bytes = if self.rank == root {
            bytes
        } else {
            let length = self.receive(8)?;
            let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
            self.receive(usize::try_from(length).unwrap_or(usize::MAX))?
        };
        if self.behind() != root {
            self.send(&(bytes.len() as u64).to_le_bytes())?;
            self.send(&bytes)?;
        }
        Ok(bytes)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Ends the thread that listens; the rank behind reads to the end of what was said.
        let _ = self.before.shutdown(Shutdown::Read);
        let _ = lock(&self.behind).shutdown(Shutdown::Write);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_frame(stream: &mut TcpStream, kind: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(5 + payload.len());
    frame.push(kind);
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(payload);
    stream.write_all(&frame)
}

/// Passes frames on until the connection ends or makes no sense.
fn listen(mut from: TcpStream, to: &mpsc::Sender<Heard>) {
    loop {
        let heard = read_frame(&mut from).unwrap_or(Heard::Closed);
        let is_last = matches!(heard, Heard::Garbled(_) | Heard::Closed);
        if to.send(heard).is_err() || is_last {
            return;
        }
    }
}

fn read_frame(from: &mut TcpStream) -> io::Result<Heard> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let allowed = match head[0] {
        DATA => 0..=LONGEST,
        ALIVE => 0..=0,
        MISSING => 4..=4,
        kind => return Ok(Heard::Garbled(format!("a frame of kind {kind}"))),
    };
    if !allowed.contains(&length) {
        return Ok(Heard::Garbled(format!("a frame of {length} bytes")));
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    Ok(match head[0] {
        DATA => Heard::Data(payload),
        ALIVE => Heard::Alive,
        _ => Heard::Missing(u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]) as usize),
    })
}
