//! The socket below everything, and how long a client may keep it waiting.
//!
//! The server underneath gives the first head of a connection five seconds, and nothing else of it a limit: a client that begins a second
//! head and falls silent, or that never reads its answer, would hold its connection for ever. Here every connection carries its own
//! patience. A head arrives within seconds of its first byte; a connection that asks for nothing ends; and a client that keeps the service
//! waiting with bytes for it takes some, at the same rate at which an upload must send (`client_silence`, `client_rate`). What arrives
//! while a request is under way is the handler's to wait for.

use std::{
    cell::Cell,
    future::{Future, ready},
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{HttpService, Protocol, error::DispatchError};
use actix_server::Server;
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::{AppConfig, Extensions},
    rt::net::TcpStream,
    web::Bytes,
};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::expect;
use crate::{config::Config, operations::Service};

/// How long the first head of a connection may take; later it is answered with 408.
const FIRST_HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long any head may take after its first byte; later the connection is cut. Longer than the other, so that an answer comes first.
const HEAD_WITHIN: Duration = Duration::from_secs(6);
/// How long a connection may ask for nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// The same for one that began a head in the packet of the request before, which nobody else counts.
const NOTHING_ASKED: Duration = Duration::from_secs(80);
/// How long the rest of a body may go on arriving after an early answer, so that the answer is read before the connection is cut.
const DISCONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4_096;
/// Bytes that the system keeps unsent for a connection. Enough to keep a line busy; more would only hide that nobody reads.
const UNSENT: u32 = 128 * 1024;

/// How the server is cut to its machine.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Threads that serve.
    pub workers: usize,
    /// Connections at once; further ones wait to be accepted.
    pub connections: usize,
    /// Seconds that requests under way may go on after the service was told to stop.
    pub grace: u64,
}

/// Listens.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Both are inherited by every accepted connection. Where the system knows no such limit, it keeps more.
    socket.set_tcp_nodelay(true)?;
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The server for the whole console, not yet running.
pub fn server(service: Service, listener: TcpListener, capacity: Capacity) -> io::Result<Server> {
    let builder = Server::build()
        .workers(capacity.workers)
        .max_concurrent_connections(capacity.connections.div_ceil(capacity.workers.max(1)))
        .shutdown_timeout(capacity.grace)
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let address = listener.local_addr()?;
    let built = builder.listen("console", listener, move || {
        let app = map_config(super::app(service.clone()), |()| AppConfig::default());
        let stopping = stopping.clone();
        let asked = service.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(FIRST_HEAD_WITHIN)
            .client_disconnect_timeout(DISCONNECT_WITHIN)
            .local_addr(address)
            .expect(fn_service(move |request| expect::permit(asked.clone(), request)))
            .on_connect_ext(|io: &Patient, kept: &mut Extensions| {
                kept.insert(io.occupation.clone());
            })
            .finish(app);
        let patience = Patience::of(&service.config);
        let accept = move |io: TcpStream| {
            let peer = io.peer_addr().ok();
            ready(Ok::<_, DispatchError>((Patient::new(io, patience), Protocol::Http1, peer)))
        };
        fn_service(accept).and_then(http)
    })?;
    Ok(built.run())
}

/// How long a client may take nothing, and how little.
#[derive(Debug, Clone, Copy)]
struct Patience {
    silence: Duration,
    least: u64,
}

impl Patience {
    fn of(config: &Config) -> Self {
        let least = config.client_rate.saturating_mul(config.client_silence.as_secs());
        Self { silence: config.client_silence, least: least.max(1) }
    }
}

/// What a connection is doing, told by its requests.
#[derive(Debug)]
pub struct Occupation {
    /// Requests whose answer is not complete.
    requests: Cell<usize>,
    /// When the last of them was.
    free_since: Cell<Instant>,
    /// When something arrived that no request has come of yet.
    begun_at: Cell<Option<Instant>>,
}

impl Occupation {
    fn new() -> Self {
        Self { requests: Cell::new(0), free_since: Cell::new(Instant::now()), begun_at: Cell::new(None) }
    }

    /// When the connection has asked for nothing for too long; none while it is being answered.
    fn deadline(&self) -> Option<Instant> {
        let latest = self.free_since.get() + NOTHING_ASKED;
        (self.requests.get() == 0).then(|| self.begun_at.get().map_or(latest, |begun| latest.min(begun + HEAD_WITHIN)))
    }
}

/// A request under way, until it is dropped.
#[derive(Debug)]
pub struct UnderWay(Rc<Occupation>);

impl UnderWay {
    /// Says that a request has arrived on a connection.
    pub fn on(occupation: &Rc<Occupation>) -> Self {
        occupation.requests.set(occupation.requests.get() + 1);
        occupation.begun_at.set(None);
        Self(occupation.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.requests.set(self.0.requests.get().saturating_sub(1));
        self.0.free_since.set(Instant::now());
    }
}

/// An answer's body; its request is under way until the last byte has left.
pub struct Answering {
    body: BoxBody,
    _request: Option<UnderWay>,
}

impl Answering {
    /// Keeps `request` under way for as long as `body` lives.
    pub fn new(body: impl MessageBody + 'static, request: Option<UnderWay>) -> Self {
        Self { body: body.boxed(), _request: request }
    }
}

impl MessageBody for Answering {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}

/// A connection that is cut when its client keeps it waiting for too long.
struct Patient {
    io: TcpStream,
    patience: Patience,
    occupation: Rc<Occupation>,
    asking: Alarm,
    taking: Alarm,
    /// Since when bytes wait for the client.
    waiting_since: Option<Instant>,
    /// How long they waited before that, and how many it took, since it last took enough.
    waited: Duration,
    taken: u64,
}

impl Patient {
    fn new(io: TcpStream, patience: Patience) -> Self {
        Self {
            io,
            patience,
            occupation: Rc::new(Occupation::new()),
            asking: Alarm::default(),
            taking: Alarm::default(),
            waiting_since: None,
            waited: Duration::ZERO,
            taken: 0,
        }
    }

    /// Counts what a write came to.
    fn written(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                if let Some(since) = self.waiting_since.take() {
                    self.waited += since.elapsed();
                }
                self.taken += bytes as u64;
                if self.taken >= self.patience.least {
                    (self.waited, self.taken) = (Duration::ZERO, 0);
                }
                written
            }
            Poll::Pending => {
                let now = Instant::now();
                let since = *self.waiting_since.get_or_insert(now);
                if self.taking.rings(since + self.patience.silence.saturating_sub(self.waited), context) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
            Poll::Ready(Err(_)) => written,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let read = Pin::new(&mut this.io).poll_read(context, into);
        let occupation = &this.occupation;
        match read {
            Poll::Ready(Ok(())) if into.filled().len() > before && occupation.requests.get() == 0 => {
                occupation.begun_at.set(occupation.begun_at.get().or_else(|| Some(Instant::now())));
            }
            Poll::Pending => {
                if occupation.deadline().is_some_and(|deadline| this.asking.rings(deadline, context)) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
            Poll::Ready(_) => {}
        }
        read
    }
}

impl AsyncWrite for Patient {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(context, bytes);
        this.written(written, context)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(context, slices);
        this.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

/// Wakes a connection's task at a deadline. Made when it is first needed.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Whether the deadline has passed; if not, the task is woken when it has.
    fn rings(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context).is_ready()
    }
}
