//! SQLite's one pen, on a thread of its own. Changes that come while others are made durable wait in line and share the next flush: a
//! transaction takes as many as are there, each in a savepoint, so that what fails undoes only itself, and nobody is answered before the
//! commit that holds their change. A flush costs more than dozens of changes; without sharing it, it is what limits how many people write.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use diesel::{Connection, connection::TransactionManager};
use tokio::{sync::oneshot, time::timeout};

use super::{Conn, DbError, DbResult, Tx, begin, counts::Counts, pool, pool::Pool, roll_back};
use crate::{domain::audit::Action, meter};

/// Changes in one transaction: the first of them waits for the last.
const MOST: usize = 128;
/// How long a transaction takes more changes in.
const OPEN_FOR: Duration = Duration::from_millis(20);

/// The end of the line where changes are given in. The thread ends when the last of these is gone.
#[derive(Clone)]
pub(super) struct Pen {
    line: mpsc::Sender<Box<dyn Job>>,
}

/// Whose turn it was first: the pen's, which makes the change then, or that of its sender, who went away before. Both have one.
#[derive(Clone, Default)]
struct Turn(Arc<AtomicBool>);

impl Turn {
    /// Whether nobody had it before.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.take();
    }
}

trait Job: Send {
    /// Whether its sender still waits; they do not leave any more.
    fn take_turn(&self) -> bool;
    /// Makes the change and keeps the answer back. `false`: it is to be undone.
    fn make(&mut self, conn: &mut Conn) -> bool;
    /// Answers, now that it is certain what became of it.
    fn answer(self: Box<Self>, committed: DbResult<()>);
}

struct Change<T, E, F> {
    change: Option<F>,
    turn: Turn,
    answer: Option<Result<T, E>>,
    /// What the audit log was told, to be counted once it is certain.
    recorded: Vec<Action>,
    to: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for Change<T, E, F>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<DbError> + Send,
{
    fn take_turn(&self) -> bool {
        self.turn.take()
    }

    fn make(&mut self, conn: &mut Conn) -> bool {
        let Some(change) = self.change.take() else { return false };
        let mut tx = Tx { conn, recorded: Vec::new() };
        let answer = change(&mut tx);
        self.recorded = tx.recorded;
        self.answer.insert(answer).is_ok()
    }

    fn answer(self: Box<Self>, committed: DbResult<()>) {
        let answer = match (self.answer, committed) {
            (Some(Ok(done)), Ok(())) => {
                self.recorded.into_iter().for_each(meter::event);
                Ok(done)
            }
            (Some(Err(refused)), _) => Err(refused),
            (Some(Ok(_)), Err(failed)) => Err(E::from(failed)),
            (None, failed) => {
                let cause = failed.err().unwrap_or_else(|| DbError::Interrupted("it was not made".to_owned()));
                Err(E::from(cause))
            }
        };
        // Whoever asked may be gone; the change is made all the same.
        let _ = self.to.send(answer);
    }
}

impl Pen {
    /// Starts the thread.
    pub(super) fn new(pool: Pool, counts: Counts) -> DbResult<Self> {
        let (line, changes) = mpsc::channel();
        std::thread::Builder::new()
            .name("sqlite-pen".to_owned())
            .spawn(move || {
                while let Ok(first) = changes.recv() {
                    write(&pool, &counts, first, &changes);
                }
            })
            .map_err(|failed| DbError::Unreachable(failed.to_string()))?;
        Ok(Self { line })
    }

    /// Waits in line without a thread, at most as long as for a connection, then for the commit.
    pub(super) async fn write<T, E, F>(&self, change: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let closed = || E::from(DbError::Interrupted("the pen was put down".to_owned()));
        let ((to, mut answer), turn) = (oneshot::channel(), Turn::default());
        let job = Change { change: Some(change), turn: turn.clone(), answer: None, recorded: Vec::new(), to };
        self.line.send(Box::new(job)).map_err(|_| closed())?;
        let answered = match timeout(pool::WAIT, &mut answer).await {
            Ok(answered) => answered,
            Err(_) if turn.take() => return Err(E::from(pool::none_was_free())),
            // It is being made: what becomes of it is not known before it is done.
            Err(_) => answer.await,
        };
        answered.unwrap_or_else(|_| Err(closed()))
    }
}

/// Makes the first change and those behind it in one transaction, and answers them all.
fn write(pool: &Pool, counts: &Counts, first: Box<dyn Job>, line: &mpsc::Receiver<Box<dyn Job>>) {
    let mut made = vec![first];
    let written = pool.take_writer().and_then(|mut pooled| {
        let committed = fill(&mut pooled, &mut made, line);
        if committed.is_err() {
            undo(&mut pooled);
        }
        committed
    });
    if matches!(written, Ok(true)) {
        counts.written();
    }
    for job in made {
        job.answer(written.as_ref().map(|_| ()).map_err(DbError::told_again));
    }
}

/// Whether anything was changed and committed. `made` has the first change, and gets those that were made after it.
fn fill(conn: &mut Conn, made: &mut Vec<Box<dyn Job>>, line: &mpsc::Receiver<Box<dyn Job>>) -> DbResult<bool> {
    begin(conn)?;
    let (since, mut changed, mut next) = (Instant::now(), false, made.pop());
    while let Some(mut job) = next.take() {
        if job.take_turn() {
            let kept = make(conn, job.as_mut());
            made.push(job);
            changed |= kept?;
        }
        if made.len() < MOST && since.elapsed() < OPEN_FOR {
            next = line.try_recv().ok();
        }
    }
    <Conn as Connection>::TransactionManager::commit_transaction(conn)?;
    Ok(changed)
}

/// Makes one change, in a savepoint; whether it was kept. An error: the whole transaction is spoilt, as some failures of the medium do it.
fn make(conn: &mut Conn, job: &mut dyn Job) -> DbResult<bool> {
    <Conn as Connection>::TransactionManager::begin_transaction(conn)?;
    let kept = catch_unwind(AssertUnwindSafe(|| job.make(conn))).map_err(|_| DbError::Interrupted("a change panicked".to_owned()))?;
    if kept {
        <Conn as Connection>::TransactionManager::commit_transaction(conn)?;
    } else {
        <Conn as Connection>::TransactionManager::rollback_transaction(conn)?;
    }
    Ok(kept)
}

/// Undoes the transaction and what is open inside it. Where even that fails, the pool closes the connection, which undoes it as well.
fn undo(conn: &mut Conn) {
    while depth(conn) > 0 && roll_back(conn) {}
}

fn depth(conn: &mut Conn) -> u32 {
    let status = <Conn as Connection>::TransactionManager::transaction_manager_status_mut(conn);
    status.transaction_depth().ok().flatten().map_or(0, u32::from)
}

#[cfg(test)]
mod tests {
    use diesel::{RunQueryDsl, connection::SimpleConnection, sql_query, sql_types::BigInt};

    use super::*;

    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }

    fn count(conn: &mut Conn, query: &str) -> i64 {
        sql_query(query).get_result::<Count>(conn).unwrap().n
    }

    fn open(folder: &tempfile::TempDir) -> (Pool, Pen) {
        let pool = Pool::open(&super::super::Address::Sqlite(folder.path().join("a.db"))).unwrap();
        pool.take_writer().unwrap().batch_execute("CREATE TABLE notes (n INTEGER PRIMARY KEY)").unwrap();
        (pool.clone(), Pen::new(pool, Counts::default()).unwrap())
    }

    fn note(tx: &mut Tx<'_>, n: i64) -> DbResult<i64> {
        sql_query(format!("INSERT INTO notes VALUES ({n})")).execute(tx.conn())?;
        Ok(n)
    }

    /// Gives in all changes while the pen cannot write, so that they share one transaction.
    async fn together(pool: &Pool, pen: &Pen, changes: Vec<fn(&mut Tx<'_>) -> DbResult<i64>>) -> Vec<DbResult<i64>> {
        let held = pool.take_writer().unwrap();
        let (ready, gave_in) = mpsc::channel();
        let holder = std::thread::spawn(move || {
            gave_in.recv().unwrap();
            std::thread::sleep(Duration::from_millis(50));
            drop(held);
        });
        let answers = changes.into_iter().map(|change| pen.write(change));
        let answers = futures_util::future::join_all(answers);
        ready.send(()).unwrap();
        let answers = answers.await;
        holder.join().unwrap();
        answers
    }

    #[tokio::test]
    async fn what_fails_among_others_undoes_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, pen) = open(&folder);
        let refuse = |tx: &mut Tx<'_>| note(tx, 3).and(Err(DbError::InUse));
        let answers = together(&pool, &pen, vec![|tx| note(tx, 1), |tx| note(tx, 1), refuse, |tx| note(tx, 2)]).await;
        assert!(matches!(answers[..], [Ok(1), Err(DbError::Taken(_)), Err(DbError::InUse), Ok(2)]), "{answers:?}");
        assert_eq!(count(&mut pool.take_reader().unwrap(), "SELECT count(*) AS n FROM notes WHERE n IN (1, 2)"), 2);
        assert_eq!(count(&mut pool.take_reader().unwrap(), "SELECT count(*) AS n FROM notes"), 2);
    }

    #[tokio::test]
    async fn a_panic_or_a_lost_transaction_is_an_error_for_all_who_shared_it_and_for_nobody_after() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, pen) = open(&folder);
        let lose = |tx: &mut Tx<'_>| tx.conn().batch_execute("ROLLBACK").map(|()| 0).map_err(DbError::from);
        let spoilers: [fn(&mut Tx<'_>) -> DbResult<i64>; 2] = [|_| panic!("on purpose"), lose];
        for spoiler in spoilers {
            let answers = together(&pool, &pen, vec![|tx| note(tx, 1), spoiler]).await;
            assert!(answers.iter().all(Result::is_err), "{answers:?}");
            assert_eq!(count(&mut pool.take_reader().unwrap(), "SELECT count(*) AS n FROM notes"), 0);
        }
        assert!(pen.write(|tx| note(tx, 1)).await.is_ok());
        assert_eq!(count(&mut pool.take_reader().unwrap(), "SELECT count(*) AS n FROM notes"), 1);
    }

    #[tokio::test]
    async fn who_left_the_line_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, pen) = open(&folder);
        let held = pool.take_writer().unwrap();
        let first = tokio::spawn({
            let pen = pen.clone();
            async move { pen.write(|tx| note(tx, 1)).await }
        });
        tokio::task::yield_now().await;
        assert!(timeout(Duration::from_millis(50), pen.write(|tx| note(tx, 2))).await.is_err());
        drop(held);
        assert!(first.await.unwrap().is_ok());
        assert!(pen.write(|tx| note(tx, 3)).await.is_ok());
        assert_eq!(count(&mut pool.take_reader().unwrap(), "SELECT sum(n) AS n FROM notes"), 4);
    }
}
