//! Many clients that do not behave. Each is a task on one thread; none of them computes anything.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

/// Clients that share one source address: fewer than the ports that the system gives out for it.
const PER_ADDRESS: usize = 5_000;

/// What a client of the crowd does.
#[derive(Debug, Clone)]
pub enum Habit {
    /// Sends this and then nothing.
    Silent(Arc<Vec<u8>>),
    /// Sends this and then a byte of it, again and again, at every interval.
    Drips(Arc<Vec<u8>>, Duration),
    /// Sends this and never reads what comes; with an interval, reads a few bytes now and then.
    DoesNotRead(Arc<Vec<u8>>, Option<Duration>),
}

/// What became of the clients.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many connections were opened, and were open at once at most.
    pub opened: AtomicUsize,
    pub open: AtomicUsize,
    /// Clients that were given up by the server, by what they did: seconds from the last byte that the client sent or took on purpose.
    pub ended: Mutex<BTreeMap<&'static str, Vec<f64>>>,
    /// Status lines of what the server said before that.
    pub answers: Mutex<BTreeMap<String, usize>>,
    /// What went wrong when opening.
    pub failures: Mutex<BTreeMap<String, usize>>,
}

/// A crowd that is at it, on a thread of its own.
pub struct Crowd {
    pub outcome: Arc<Outcome>,
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl Crowd {
    /// Opens one connection after the other, so many a second, each with its name and habit.
    pub fn gather(address: SocketAddr, per_second: usize, clients: Vec<(&'static str, Habit)>) -> Self {
        let outcome = Arc::new(Outcome::default());
        let (stop, stopped) = watch::channel(false);
        let told = outcome.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let begun = tokio::time::Instant::now();
                let mut tasks = JoinSet::new();
                for (number, (name, habit)) in clients.into_iter().enumerate() {
                    sleep_until(begun + Duration::from_secs_f64(number as f64 / per_second as f64)).await;
                    tasks.spawn(client(address, number, name, habit, told.clone(), stopped.clone()));
                }
                while tasks.join_next().await.is_some() {}
            });
        });
        Self { outcome, stop, thread }
    }

    /// Waits until the server has given up all of them, or for so long and then goes home; answers how many had to.
    pub fn wait(self, most: Duration) -> (Arc<Outcome>, usize) {
        let begun = Instant::now();
        while !self.thread.is_finished() && begun.elapsed() < most {
            std::thread::sleep(Duration::from_millis(100));
        }
        let left = self.outcome.open.load(Ordering::Relaxed);
        self.stop.send_replace(true);
        let _ = self.thread.join();
        (self.outcome, left)
    }
}

async fn client(
    address: SocketAddr,
    number: usize,
    name: &'static str,
    habit: Habit,
    outcome: Arc<Outcome>,
    mut stopped: watch::Receiver<bool>,
) {
    let small = matches!(habit, Habit::DoesNotRead(..));
    let mut socket = match connect(address, number, small).await {
        Ok(socket) => socket,
        Err(failed) => {
            *lock(&outcome.failures).entry(failed.to_string()).or_default() += 1;
            return;
        }
    };
    outcome.opened.fetch_add(1, Ordering::Relaxed);
    outcome.open.fetch_add(1, Ordering::Relaxed);
    let mut answer = Vec::new();
    let mut last = Instant::now();
    tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => {}
        ended = behave(&mut socket, habit, &mut answer, &mut last) => {
            if let Err(failed) = ended && answer.is_empty() {
                *lock(&outcome.answers).entry(failed.kind().to_string()).or_default() += 1;
            }
            lock(&outcome.ended).entry(name).or_default().push(last.elapsed().as_secs_f64());
        }
    }
    if let Some(line) = answer.split(|byte| *byte == b'\r').next().filter(|line| !line.is_empty()) {
        *lock(&outcome.answers).entry(String::from_utf8_lossy(line).into_owned()).or_default() += 1;
    }
    outcome.open.fetch_sub(1, Ordering::Relaxed);
}

async fn connect(address: SocketAddr, number: usize, small: bool) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(2 + number / PER_ADDRESS).unwrap_or(255);
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    if small {
        socket.set_recv_buffer_size(4_096)?;
    }
    timeout(Duration::from_secs(60), socket.connect(address)).await?
}

/// Does what the client does until the server ends the connection.
async fn behave(socket: &mut TcpStream, habit: Habit, answer: &mut Vec<u8>, last: &mut Instant) -> std::io::Result<()> {
    match habit {
        Habit::Silent(bytes) => {
            socket.write_all(&bytes).await?;
            *last = Instant::now();
            read_to_end(socket, answer).await
        }
        Habit::Drips(bytes, every) => {
            socket.write_all(&bytes).await?;
            *last = Instant::now();
            let (mut from, mut to) = socket.split();
            let drip = async {
                loop {
                    sleep(every).await;
                    to.write_all(b"a").await?;
                }
            };
            let mut buffer = [0; 4_096];
            let listen = async {
                loop {
                    match from.read(&mut buffer).await? {
                        0 => return Ok(()),
                        read => answer.extend_from_slice(&buffer[..read.min(200)]),
                    }
                }
            };
            tokio::select! { ended = drip => ended, ended = listen => ended }
        }
        Habit::DoesNotRead(bytes, every) => {
            socket.write_all(&bytes).await?;
            *last = Instant::now();
            // Whether the other side has gone cannot be seen without reading; the size of what waits says nothing. So look for an error.
            loop {
                sleep(every.unwrap_or(Duration::from_secs(1))).await;
                if every.is_some() {
                    let mut few = [0; 16];
                    if socket.read(&mut few).await? == 0 {
                        return Ok(());
                    }
                }
                if last.elapsed() > GIVEN_UP_BY {
                    let mut rest = vec![0; 65_536];
                    while socket.read(&mut rest).await? > 0 {}
                    return Ok(());
                }
            }
        }
    }
}

/// When a client that does not read looks whether its connection has been ended.
const GIVEN_UP_BY: Duration = Duration::from_secs(75);

async fn read_to_end(socket: &mut TcpStream, answer: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = [0; 4_096];
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            read => answer.extend_from_slice(&buffer[..read.min(200)]),
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outcome {
    /// What was said and how it ended, for people.
    pub fn report(&self) {
        for (name, seconds) in lock(&self.ended).iter() {
            let most = seconds.iter().copied().fold(0.0, f64::max);
            println!(
                "  {name}: {} ended by the server, after {:.0} s (median) and {most:.0} s at most",
                seconds.len(),
                crate::median(seconds)
            );
        }
        for (line, count) in lock(&self.answers).iter() {
            println!("  {count} were told: {line}");
        }
        for (failed, count) in lock(&self.failures).iter() {
            println!("  {count} could not connect: {failed}");
        }
    }
}
