//! The socket below everything, and how long a client may keep it waiting.
//!
//! The server underneath gives the first head of a connection five seconds, and nothing else of it a limit: a client that begins a second
//! head and falls silent, or that never reads its answer, would hold its connection for ever. Here every connection carries its own
//! patience. A head arrives within seconds of its first byte; a connection that asks for nothing ends; and a client that keeps the service
//! waiting with bytes for it takes some, at the same rate at which an upload must send (`client_silence`, `client_rate`). What arrives
//! while a request is under way is the handler's to wait for.
//!
//! Nor does a connection read far ahead of whoever takes the body. The server underneath would read 128 KiB at once and keep a buffer of
//! that size, and more, for as long as the client is silent. Here a connection begins with small steps; when a body has shown that it
//! flows, it may take larger ones, as long as not too many do.

use std::{
    cell::{Cell, RefCell},
    future::{Future, ready},
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_http::{HttpService, Protocol, error::DispatchError};
use actix_server::Server;
use actix_service::{ServiceFactoryExt, boxed, fn_service, map_config};
use actix_web::{
    HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{AppConfig, Extensions, Payload, ServiceRequest},
    error::PayloadError,
    rt::net::TcpStream,
    web::Bytes,
};
use futures_util::Stream;
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
/// Bytes of a body that are read before somebody takes them, and bytes that are read before somebody looks at them at all. A
/// fraction of what the server underneath first gives a connection to read into: with more, that buffer and the form's grow and stay so.
const AHEAD: usize = 2 * 1024;
/// The same for a body that flows. Measured: 16 KiB need a fifth more of the processor's time than this, twice as much need no less.
const AHEAD_OF_FLOW: usize = 32 * 1024;
/// With fewer free bytes than this the server underneath makes room in its buffer before it looks at what it has just read.
const LOW: usize = 1024;
/// A body flows after so many bytes.
const FLOWS_AFTER: u64 = 256 << 10;
/// So many bodies may do so at once for each thread that serves.
const FLOWS: usize = 64;
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
        // Boxed, so that the task of a connection holds it once: what accepts connections would keep room for it twice.
        boxed::factory(fn_service(accept).and_then(http))
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
    /// Bodies that somebody may take.
    bodies: Cell<usize>,
    /// Bytes that were read and that nobody has taken, and how many there may be.
    ahead: Cell<usize>,
    most_ahead: Cell<usize>,
    /// Who goes on reading when some were taken.
    reader: RefCell<Option<Waker>>,
}

impl Occupation {
    fn new() -> Self {
        Self {
            requests: Cell::new(0),
            free_since: Cell::new(Instant::now()),
            begun_at: Cell::new(None),
            bodies: Cell::new(0),
            ahead: Cell::new(0),
            most_ahead: Cell::new(AHEAD),
            reader: RefCell::default(),
        }
    }

    /// Lets the reading go on.
    fn go_on(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
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
        self.0.go_on();
    }
}

/// A request's body, which says how much of it was taken.
struct Body {
    payload: Payload,
    occupation: Rc<Occupation>,
    taken: u64,
    flows: bool,
}

thread_local! {
    /// Bodies that flow, on this thread. A connection never leaves its thread.
    static FLOWING: Cell<usize> = const { Cell::new(0) };
}

/// Puts a count on what is taken of a request's body.
pub fn count_body(request: &mut ServiceRequest, occupation: &Rc<Occupation>) {
    let payload = request.take_payload();
    if matches!(payload, Payload::None) {
        return;
    }
    occupation.bodies.set(occupation.bodies.get() + 1);
    occupation.ahead.set(0);
    let body = Body { payload, occupation: occupation.clone(), taken: 0, flows: false };
    request.set_payload(Payload::Stream { payload: Box::pin(body) });
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = Pin::new(&mut this.payload).poll_next(context);
        let occupation = &this.occupation;
        match &next {
            Poll::Ready(Some(Ok(bytes))) => {
                this.taken += bytes.len() as u64;
                if !this.flows && this.taken >= FLOWS_AFTER && FLOWING.get() < FLOWS {
                    FLOWING.set(FLOWING.get() + 1);
                    this.flows = true;
                    occupation.most_ahead.set(AHEAD_OF_FLOW);
                }
                occupation.ahead.set(occupation.ahead.get().saturating_sub(bytes.len()));
            }
            // Everything was taken: what is still counted was the form of the body, such as the sizes of its chunks.
            Poll::Pending => occupation.ahead.set(0),
            Poll::Ready(_) => {}
        }
        occupation.go_on();
        next
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.flows {
            FLOWING.set(FLOWING.get().saturating_sub(1));
            self.occupation.most_ahead.set(AHEAD);
        }
        self.occupation.bodies.set(self.occupation.bodies.get().saturating_sub(1));
        self.occupation.go_on();
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
    /// Bytes that were read since somebody last had a look at them.
    unseen: usize,
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
            unseen: 0,
        }
    }

    /// How many bytes may be read now; none when somebody has to take or to look at some first, who then wakes the task.
    /// `free`: bytes that the buffer has room for.
    fn may_read(&self, free: usize, context: &Context<'_>) -> Option<usize> {
        let (most, mut room) = (self.occupation.most_ahead.get(), AHEAD.saturating_sub(self.unseen));
        if self.occupation.bodies.get() > 0 {
            room = most.saturating_sub(self.occupation.ahead.get());
            if room == 0 {
                self.occupation.reader.replace(Some(context.waker().clone()));
                return None;
            }
        }
        if most == AHEAD {
            room = room.min(without_growth(free, self.unseen));
        }
        if room == 0 {
            context.waker().wake_by_ref();
        }
        (room > 0).then_some(room)
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
        let Some(room) = this.may_read(into.remaining(), context) else {
            this.unseen = 0;
            return Poll::Pending;
        };
        let before = into.filled().len();
        let read = if into.remaining() <= room {
            Pin::new(&mut this.io).poll_read(context, into)
        } else {
            let mut part = ReadBuf::new(into.initialize_unfilled_to(room));
            let read = Pin::new(&mut this.io).poll_read(context, &mut part);
            let filled = part.filled().len();
            into.advance(filled);
            read
        };
        let arrived = into.filled().len() - before;
        let occupation = &this.occupation;
        occupation.ahead.set(occupation.ahead.get() + arrived);
        this.unseen = if read.is_pending() { 0 } else { this.unseen + arrived };
        match read {
            Poll::Ready(Ok(())) if arrived > 0 && occupation.requests.get() == 0 => {
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

/// How many bytes can be read into a buffer with so many free ones, after `unseen` that nobody has looked at, so that it need not grow:
/// either enough stay free, or what is unseen can be moved to the buffer's beginning and leaves the room that is asked for. A buffer that
/// has grown to twice its size stays so.
fn without_growth(free: usize, unseen: usize) -> usize {
    free.saturating_sub(LOW).max(free.saturating_sub(unseen) / 2)
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
