//! The way from the plugin to the hub, and what can happen to its bytes.
//!
//! Knows bytes and connections, nothing of what they mean. Learn [`Sky`] (what holds for all connections now) and
//! [`Cut`] (what ends one connection at an exact byte).

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Plugin to hub.
    Up,
    /// Hub to plugin.
    Down,
}

/// What holds for every connection at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sky {
    Clear,
    /// New connections are reset; those that stand go on.
    Refuse,
    /// Bytes vanish both ways and nothing is closed. A connection that lost bytes so stays silent.
    Silent,
    /// Bytes of this way vanish.
    OneWay(Way),
    /// Nothing is read; it comes later.
    Hold,
    /// So many bytes a second, each way.
    Drip(u64),
}

/// Resets a connection after so many bytes of one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) way: Way,
    pub(crate) after: u64,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<String>,
    sky: watch::Sender<Sky>,
    /// For the next connection.
    cut: Mutex<Option<Cut>>,
    /// Counts the times that everything was reset.
    severed: watch::Sender<u64>,
    connections: AtomicU64,
    /// Bytes that were passed on, up and down, over all connections.
    carried: [AtomicU64; 2],
}

/// A listener on loopback; ends with its last clone's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    address: String,
}

impl Proxy {
    pub(crate) async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            target: Mutex::new(target.to_owned()),
            sky: watch::Sender::new(Sky::Clear),
            cut: Mutex::default(),
            severed: watch::Sender::new(0),
            connections: AtomicU64::new(0),
            carried: Default::default(),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, address }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn target(&self, address: &str) {
        address.clone_into(&mut self.shared.target.lock().unwrap());
    }

    pub(crate) fn set(&self, sky: Sky) {
        self.shared.sky.send_replace(sky);
    }

    /// The next connection, once, ends so.
    pub(crate) fn cut_next(&self, cut: Cut) {
        *self.shared.cut.lock().unwrap() = Some(cut);
    }

    /// Resets all connections now.
    pub(crate) fn sever(&self) {
        self.shared.severed.send_modify(|times| *times += 1);
    }

    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn carried(&self, way: Way) -> u64 {
        self.shared.carried[way as usize].load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        if *shared.sky.borrow() == Sky::Refuse {
            reset(&near);
            continue;
        }
        shared.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(carry(near, Arc::clone(&shared)));
    }
}

/// The close that follows sends RST.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn carry(mut near: TcpStream, shared: Arc<Shared>) {
    let cut = shared.cut.lock().unwrap().take();
    let mut severed = shared.severed.subscribe();
    let target = shared.target.lock().unwrap().clone();
    let Ok(mut far) = TcpStream::connect(target).await else {
        reset(&near);
        return;
    };
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let broke = {
        let ((near_reads, near_writes), (far_reads, far_writes)) = (near.split(), far.split());
        let left = |way| cut.filter(|cut| cut.way == way).map_or(u64::MAX, |cut| cut.after);
        let up = pump(near_reads, far_writes, Way::Up, left(Way::Up), &shared);
        let down = pump(far_reads, near_writes, Way::Down, left(Way::Down), &shared);
        tokio::select! {
            both = async { tokio::try_join!(up, down) } => both.is_err(),
            _ = severed.changed() => true,
        }
    };
    if broke {
        reset(&near);
        reset(&far);
    }
}

/// Carries one way until its end; an error means that the whole connection is reset.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    mut left: u64,
    shared: &Shared,
) -> io::Result<()> {
    let mut sky = shared.sky.subscribe();
    let (mut buffer, mut lossy) = (vec![0; 16 << 10], false);
    if left == 0 {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    loop {
        let now = *sky.borrow_and_update();
        if now == Sky::Hold {
            let _ = sky.changed().await;
            continue;
        }
        let most = match now {
            Sky::Drip(rate) => usize::try_from(rate / 20).unwrap().clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let read = tokio::select! {
            read = from.read(&mut buffer[..most]) => read?,
            _ = sky.changed() => continue,
        };
        if read == 0 {
            // The end of a connection gets through only where its bytes would.
            if !lossy {
                let _ = to.shutdown().await;
            }
            return Ok(());
        }
        lossy |= now == Sky::Silent || now == Sky::OneWay(way);
        if lossy {
            continue;
        }
        let passed = left.min(read as u64);
        to.write_all(&buffer[..usize::try_from(passed).unwrap()]).await?;
        shared.carried[way as usize].fetch_add(passed, Ordering::Relaxed);
        left -= passed;
        if left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if matches!(now, Sky::Drip(_)) {
            sleep(Duration::from_millis(50)).await;
        }
    }
}
