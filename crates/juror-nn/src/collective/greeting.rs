//! How ranks find each other: all come to rank 0, which tells each where the others listen.
//!
//! ```text
//! rank r -> rank 0      {"join": job, world size, r, port of its own listener}
//! rank 0 -> rank r      {"welcome": token, addresses}   once all are there, or {"refused": why}
//! rank r -> rank r + 1  {"ring": token, r}
//! ```
//!
//! Messages are JSON behind their length (u32, little-endian, at most [`LONGEST`]). Every connection is greeted on a thread of its
//! own with a time limit, at most [`MOST_GUESTS`] at a time; one that says anything else is closed and changes nothing.

use super::{CollectiveError, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Bytes of a greeting.
const LONGEST: u32 = 1 << 16;
/// Connections greeted at a time.
const MOST_GUESTS: usize = 64;
/// Within this a guest must have said who it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at the door, or two knocks.
const PAUSE: Duration = Duration::from_millis(20);
/// Ranks that one world may have.
const MOST_RANKS: usize = 1024;

/// Where a process stands in its world.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Of this process.
    pub rank: usize,
    /// Processes, at least 2.
    pub world_size: usize,
    /// Host on which rank 0 listens.
    pub host: String,
    /// Port on which rank 0 listens.
    pub port: u16,
    /// How long a rank may be silent, or take to join.
    pub timeout: Duration,
}

impl Place {
    /// Reads `RANK`, `WORLD_SIZE`, `MASTER_ADDR`, `MASTER_PORT` as `torchrun` sets them, and `JUROR_RANK_TIMEOUT_SECS` (300 where
    /// absent); `None` for a world of one. Where `torchrun` itself holds `MASTER_PORT`
    /// (`TORCHELASTIC_USE_AGENT_STORE`), the port behind it is taken.
    ///
    /// # Errors
    /// The variable that is no good.
    pub fn from_variables(variable: impl Fn(&'static str) -> Option<String>) -> Result<Option<Self>> {
        let wrong = |name, value: Option<&str>, allowed| {
            let value = value.map_or_else(|| "not set".to_owned(), |value| format!("`{value}`"));
            CollectiveError::Variable { name, value, allowed }
        };
        let number = |name, range: std::ops::RangeInclusive<usize>, allowed| {
            let value = variable(name);
            let parsed = value.as_deref().and_then(|text| text.trim().parse().ok());
            parsed.filter(|n| range.contains(n)).ok_or_else(|| wrong(name, value.as_deref(), allowed))
        };
        if variable("WORLD_SIZE").is_none() {
            return Ok(None);
        }
        let world_size =
            number("WORLD_SIZE", 1..=MOST_RANKS, "a number of processes from 1 to 1024 is needed")?;
        if world_size == 1 {
            return Ok(None);
        }
        let rank = number("RANK", 0..=world_size - 1, "a number from 0, below WORLD_SIZE, is needed")?;
        let host = variable("MASTER_ADDR").filter(|host| !host.trim().is_empty());
        let host = host
            .ok_or_else(|| wrong("MASTER_ADDR", None, "the name or address of rank 0's machine is needed"))?;
        let port = number("MASTER_PORT", 1..=65534, "a port from 1 to 65534 is needed")? as u16;
        let torchrun_holds_it =
            variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let secs = match variable("JUROR_RANK_TIMEOUT_SECS") {
            None => 300,
            Some(_) => number("JUROR_RANK_TIMEOUT_SECS", 1..=86_400, "seconds from 1 to 86400 are needed")?,
        };
        let port = port + u16::from(torchrun_holds_it);
        Ok(Some(Self { rank, world_size, host, port, timeout: Duration::from_secs(secs as u64) }))
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn resolved(&self) -> Result<Vec<SocketAddr>> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        Ok(found.map_err(network(format!("find {}", self.address())))?.collect())
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Greeting {
    Join { job: u64, world_size: usize, rank: usize, port: u16 },
    Ring { token: u64, rank: usize },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// Where each rank listens.
    Welcome {
        token: u64,
        addresses: Vec<Listening>,
    },
    Refused(String),
}

/// The streams from the rank before and to the rank behind.
pub(super) struct Neighbours {
    pub(super) before: TcpStream,
    pub(super) behind: TcpStream,
}

/// Finds the neighbours of this rank.
pub(super) fn meet(place: &Place, job: u64) -> Result<Neighbours> {
    let deadline = Instant::now() + place.timeout;
    let (listener, master, token, addresses) =
        if place.rank == 0 { host(place, job, deadline)? } else { visit(place, job, deadline)? };
    let (behind, before) =
        ((place.rank + 1) % place.world_size, (place.rank + place.world_size - 1) % place.world_size);
    let late = |rank| CollectiveError::Missing {
        ranks: vec![rank],
        world_size: place.world_size,
        waited: place.timeout,
        note: String::new(),
    };
    let (ip, port) = addresses[behind];
    let mut to = knock(&[SocketAddr::new(ip.unwrap_or(master), port)], deadline).map_err(|_| late(behind))?;
    say(&mut to, &Greeting::Ring { token, rank: place.rank }).map_err(|_| late(behind))?;
    let mut found = None;
    greet(&listener, deadline, |guest, _, greeting| {
        if matches!(greeting, Greeting::Ring { token: theirs, rank } if theirs == token && rank == before) {
            found = Some(guest);
        }
        found.is_some()
    })?;
    let neighbours = Neighbours { before: found.ok_or_else(|| late(before))?, behind: to };
    for stream in [&neighbours.before, &neighbours.behind] {
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(None));
        set.and_then(|()| stream.set_write_timeout(Some(place.timeout)))
            .map_err(network("set up a connection".into()))?;
    }
    Ok(neighbours)
}

/// Where a rank listens; without an address where it is on rank 0's machine.
type Listening = (Option<IpAddr>, u16);

/// Own listener, address of rank 0, token, and where all ranks listen.
type Met = (TcpListener, IpAddr, u64, Vec<Listening>);

/// Rank 0: waits for all, then tells all.
fn host(place: &Place, job: u64, deadline: Instant) -> Result<Met> {
    let own = place.resolved()?;
    let listener = TcpListener::bind(&own[..]).map_err(network(format!("listen on {}", place.address())))?;
    let ip = listener.local_addr().map_err(network("read an address".into()))?.ip();
    let mut guests: Vec<Option<(TcpStream, Listening)>> = Vec::new();
    guests.resize_with(place.world_size, || None);
    let mut note = String::new();
    greet(&listener, deadline, |mut guest, from, greeting| {
        let Greeting::Join { job: theirs, world_size, rank, port } = greeting else { return false };
        let reason = if theirs != job {
            "its version, command, configuration or JUROR_COLLECTIVE is another".to_owned()
        } else if world_size != place.world_size {
            format!("its WORLD_SIZE is {world_size}, here it is {}", place.world_size)
        } else if rank == 0 || guests.get(rank).is_none_or(Option::is_some) {
            format!("rank {rank} is here already")
        } else {
            // From this very machine: wherever rank 0 is.
            let at = (!from.ip().is_loopback()).then(|| from.ip());
            guests[rank] = Some((guest, (at, port)));
            return guests.iter().skip(1).all(Option::is_some);
        };
        note = format!("; rank {rank} at {from} was turned away: {reason}");
        let _ = say(&mut guest, &Answer::Refused(reason));
        false
    })?;
    let ranks: Vec<usize> = (1..place.world_size).filter(|&rank| guests[rank].is_none()).collect();
    let port = place.port;
    let token = rand::random();
    let mut addresses = vec![(None, port)];
    addresses.extend(guests.iter().flatten().map(|(_, address)| *address));
    let answer = if ranks.is_empty() {
        Answer::Welcome { token, addresses: addresses.clone() }
    } else {
        let (world_size, waited) = (place.world_size, place.timeout);
        let missing =
            CollectiveError::Missing { ranks: ranks.clone(), world_size, waited, note: note.clone() };
        Answer::Refused(missing.to_string())
    };
    for (guest, _) in guests.iter_mut().flatten() {
        // Who has gone meanwhile is missed in the ring.
        let _ = say(guest, &answer);
    }
    if !ranks.is_empty() {
        let world_size = place.world_size;
        return Err(CollectiveError::Missing { ranks, world_size, waited: place.timeout, note });
    }
    Ok((listener, ip, token, addresses))
}

/// Any other rank: goes to rank 0 and hears where the others are.
fn visit(place: &Place, job: u64, deadline: Instant) -> Result<Met> {
    let gone =
        |what: &str| CollectiveError::Lost { rank: 0, reason: format!("{what} at {}", place.address()) };
    let late = || CollectiveError::Missing {
        ranks: vec![0],
        world_size: place.world_size,
        waited: place.timeout,
        note: format!(" (MASTER_ADDR and MASTER_PORT say {})", place.address()),
    };
    let mut master = knock(&place.resolved()?, deadline).map_err(|_| late())?;
    let own = master.local_addr().map_err(network("read an address".into()))?.ip();
    let listener = TcpListener::bind((own, 0)).map_err(network(format!("listen on {own}")))?;
    let port = listener.local_addr().map_err(network("read an address".into()))?.port();
    let join = Greeting::Join { job, world_size: place.world_size, rank: place.rank, port };
    say(&mut master, &join).map_err(|_| gone("it closed the connection"))?;
    // Rank 0 tells who is missing when its time is up; a moment longer, to hear it.
    let patience = deadline.saturating_duration_since(Instant::now()) + PATIENCE;
    let answer: Answer = hear(&mut master, patience).map_err(|_| gone("no rank of this training answers"))?;
    match answer {
        Answer::Refused(reason) => Err(CollectiveError::Refused { address: place.address(), reason }),
        Answer::Welcome { token, addresses } if addresses.len() == place.world_size => {
            let ip = master.peer_addr().map_err(network("read an address".into()))?.ip();
            Ok((listener, ip, token, addresses))
        }
        Answer::Welcome { addresses, .. } => Err(CollectiveError::Garbled {
            rank: 0,
            what: format!("{} addresses of {} ranks", addresses.len(), place.world_size),
        }),
    }
}

/// Lets guests in until `take` has all it wants (and says so), or the time is up.
fn greet(
    listener: &TcpListener,
    deadline: Instant,
    mut take: impl FnMut(TcpStream, SocketAddr, Greeting) -> bool,
) -> Result<()> {
    let door = || network("wait for connections".into());
    listener.set_nonblocking(true).map_err(door())?;
    let (heard, greetings) = mpsc::channel();
    let guests = Arc::new(());
    loop {
        while let Ok((guest, from, greeting)) = greetings.try_recv() {
            if take(guest, from, greeting) {
                return Ok(());
            }
        }
        match listener.accept() {
            Ok((mut guest, from)) => {
                let seat = Arc::clone(&guests);
                if Arc::strong_count(&guests) > MOST_GUESTS || guest.set_nonblocking(false).is_err() {
                    continue;
                }
                let heard = heard.clone();
                std::thread::spawn(move || {
                    let _seat = seat;
                    if let Ok(greeting) = hear(&mut guest, PATIENCE) {
                        // Nobody listens any more: too late.
                        let _ = heard.send((guest, from, greeting));
                    }
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    return Ok(());
                }
                std::thread::sleep(PAUSE);
            }
            // A guest that left before it was let in.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(door()(error)),
        }
    }
}

/// Connects, again and again until the deadline.
fn knock(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for address in addresses {
            match TcpStream::connect_timeout(address, left.max(PAUSE)) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        if Instant::now() >= deadline {
            return Err(last);
        }
        std::thread::sleep(PAUSE);
    }
}

fn say(to: &mut TcpStream, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let mut bytes = (json.len() as u32).to_le_bytes().to_vec();
    bytes.extend(json);
    to.write_all(&bytes)
}

/// The next message, whole within `patience`.
fn hear<T: DeserializeOwned>(from: &mut TcpStream, patience: Duration) -> io::Result<T> {
    let deadline = Instant::now() + patience;
    let mut fill = |buffer: &mut [u8]| -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            from.set_read_timeout(Some(left))?;
            match from.read(&mut buffer[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let mut length = [0; 4];
    fill(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut json = vec![0; length as usize];
    fill(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

pub(super) fn network(what: String) -> impl FnOnce(io::Error) -> CollectiveError {
    move |source| CollectiveError::Network { what, source }
}
