//! Forks of this process: SQLite's table of open files and locks must not come along into a child.
//!
//! A child that inherits it takes no lock of its own, and its writes are lost or damage the file
//! (<https://www.sqlite.org/howtocorrupt.html>, section 2.6). [`before_fork`] waits for the running transactions and
//! closes every connection; the parent opens them again at the next call. A fork that does not call it is noticed by the
//! number of the process, and the catalogs of the parent are refused in the child.

use std::any::Any;
use std::cell::RefCell;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, TryLockError, Weak};
use std::thread;
use std::time::Duration;

use crate::picture;
use crate::store::connections::Identity;
use crate::store::lock;
use crate::workers;

/// How long to sleep before looking again; a fork takes a few milliseconds.
const STEP: Duration = Duration::from_millis(1);

/// A process, a file, and the connections.
type Entry = (u32, Option<Identity>, Weak<dyn Connected>);

/// The process that the state below belongs to.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// Threads that use a connection.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);
/// Whether a thread is about to fork: then no thread may begin to use a connection.
static FORKING: AtomicBool = AtomicBool::new(false);
/// A holder of open connections, the process that opened it, and its file if that must not be opened again in a child that
/// was forked without [`before_fork`]. Locked by active threads only, and so by none during a fork.
static OPEN: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

thread_local! {
    /// Locks that many threads take for an instant, held by the thread that forks.
    static HELD: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Has connections that must not come along into a child.
pub(super) trait Connected: Send + Sync {
    /// Closes every connection; the next calls open new ones.
    fn close(&self);
}

/// The right to use connections, until it is dropped. Do not ask for a second one meanwhile.
#[derive(Debug)]
pub(crate) struct Active(());

impl Drop for Active {
    fn drop(&mut self) {
        ACTIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits while another thread forks. Call it without the interpreter's lock, which a forking thread holds.
pub(crate) fn enter() -> Active {
    loop {
        let active = count();
        if !pending() {
            return active;
        }
        drop(active);
        thread::sleep(STEP);
    }
}

fn count() -> Active {
    ACTIVE.fetch_add(1, Ordering::SeqCst);
    Active(())
}

/// Whether a fork waits for the active threads.
pub(super) fn pending() -> bool {
    FORKING.load(Ordering::SeqCst)
}

/// Notes that this process may have connections open, to a catalog if its file is given.
pub(super) fn register(connected: Weak<dyn Connected>, catalog: Option<Identity>) {
    let mut open = lock(&OPEN);
    open.retain(|(_, _, connected)| connected.strong_count() > 0);
    open.push((process::id(), catalog, connected));
}

/// Whether this process has connections open to a catalog by its file.
pub(super) fn is_open(identity: Identity) -> bool {
    let own = process::id();
    lock(&OPEN).iter().any(|(process, of, held)| *process == own && *of == Some(identity) && held.strong_count() > 0)
}

/// Whether the process that this one was forked from had this file open, and forked without closing it.
pub(super) fn inherited(identity: Identity) -> bool {
    let own = process::id();
    if PROCESS.swap(own, Ordering::SeqCst) != own {
        // Threads of the parent that were active are not here.
        ACTIVE.store(1, Ordering::SeqCst);
        FORKING.store(false, Ordering::SeqCst);
    }
    // A thread of the parent may have held the lock when it was copied.
    match OPEN.try_lock() {
        Ok(open) => open.iter().any(|(process, of, _)| *process != own && *of == Some(identity)),
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Poisoned(open)) => {
            open.into_inner().iter().any(|(process, of, _)| *process != own && *of == Some(identity))
        }
    }
}

/// Waits for the running transactions and closes every connection of this process. Until [`after_fork_in_parent`] or
/// [`after_fork_in_child`] is called, other threads wait before they use a catalog.
pub fn before_fork() {
    if PROCESS.load(Ordering::SeqCst) != process::id() {
        return;
    }
    while FORKING.swap(true, Ordering::SeqCst) {
        thread::sleep(STEP);
    }
    while ACTIVE.load(Ordering::SeqCst) > 0 {
        thread::sleep(STEP);
    }
    for (_, _, connected) in lock(&OPEN).iter() {
        if let Some(connected) = connected.upgrade() {
            connected.close();
        }
    }
    HELD.set(Some(Box::new((workers::hold(), picture::hold()))));
}

/// Lets the threads of this process use its catalogs again.
pub fn after_fork_in_parent() {
    HELD.set(None);
    FORKING.store(false, Ordering::SeqCst);
}

/// Forgets the catalogs of the parent, whose connections were closed before the fork.
pub fn after_fork_in_child() {
    HELD.set(None);
    PROCESS.store(process::id(), Ordering::SeqCst);
    ACTIVE.store(0, Ordering::SeqCst);
    if FORKING.swap(false, Ordering::SeqCst) {
        // Dropping the entries would be of no use: their catalogs stay with the engines of the parent.
        lock(&OPEN).clear();
    }
}
