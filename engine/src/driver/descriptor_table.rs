//! A descriptor table of a reactor's own.
//!
//! `RLIMIT_NOFILE` bounds a descriptor *table*, and threads of a process usually share one. A reactor
//! thread that takes a table of its own gets the whole limit for itself, and no longer meets the
//! other reactors at the lock of the shared one. io_uring's direct slots do not need this: they are
//! counted by the ring.
//!
//! # When
//!
//! First thing on the reactor's thread, and at the start of the process: the new table begins as a
//! copy, and a copied socket stays open until every table has closed it. What the reactor shares
//! with other threads (its [`Waker`](super::Waker), and theirs) exists before that; what is its own
//! (epoll's set, accepted sockets) is opened after.
//!
//! # What a number means
//!
//! From then on a descriptor is a number in *one* table. Opened on this thread, it means nothing on
//! another, and the other way round: so no descriptor travels, which also goes for the application's
//! callbacks. Those may use files that were open before, and such as they open themselves. The
//! treacherous case is a thing that is shared and opens files late, as a log that rotates does: it
//! belongs behind a channel, on a thread with the common table.

use std::{
    io,
    ops::Range,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives the calling thread a descriptor table of its own, a copy of the one it shared until now.
///
/// Of `inherited`, which another thread owns, this table's copies of `ours` are returned and the
/// others closed: a listener that lived on in tables of reactors which never accept from it would
/// swallow connections. Their owner closes the originals when every reactor has its copies.
///
/// Costs a copy of the table, 8 bytes a descriptor, and freeing it when the thread ends, which
/// closes what is still open in it. Fails when the kernel has no memory for it.
pub(crate) fn unshare(inherited: &[OwnedFd], ours: Range<usize>) -> io::Result<Vec<OwnedFd>> {
    // SAFETY: what would be unsound is a descriptor of one table used with another. The engine
    // sends none between threads once they run (messages carry bytes and keys), descriptors that
    // were open before mean the same in both tables, and the module's documentation tells the
    // application's callbacks what it means for theirs.
    unsafe { unshare_unsafe(UnshareFlags::FILES)? };
    let mut copies: Vec<_> = inherited
        .iter()
        // SAFETY: the number is open in this table, since it was in the one just copied: the borrow
        // of its owner outlasts the copying. Nothing owns it here: the owner lives on another
        // thread and closes the original, in another table.
        .map(|original| unsafe { OwnedFd::from_raw_fd(original.as_raw_fd()) })
        .collect();
    copies.truncate(ours.end);
    Ok(copies.split_off(ours.start.min(copies.len())))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        os::{fd::BorrowedFd, unix::net::UnixStream},
        sync::Barrier,
        thread,
        time::{Duration, Instant},
    };

    use rustix::io::fcntl_getfd;

    use super::*;

    #[test]
    fn descriptors_of_one_table_mean_nothing_in_another() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let (mut there_too, seen) = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                unshare(&[], 0..0).unwrap();
                // Open before: still ours to use.
                (&there).write_all(b"hello").unwrap();
                let (one, mut other) = UnixStream::pair().unwrap();
                let duplicate = one.try_clone().unwrap();
                (&one).write_all(b"x").unwrap();
                drop((one, duplicate));
                let mut seen = Vec::new();
                other.read_to_end(&mut seen).unwrap();
                seen
            });
            let seen = thread.join().unwrap();
            (there.try_clone().unwrap(), seen)
        });
        assert_eq!(seen, b"x");
        there_too.write_all(b" again").unwrap();
        drop((there, there_too));
        let mut heard = String::new();
        here.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello again", "the thread's copy is gone with its table");
    }

    #[test]
    fn a_listener_lives_where_it_belongs() {
        let listeners: Vec<OwnedFd> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap().into()).collect();
        let addresses: Vec<_> = listeners
            .iter()
            .map(|listener| TcpListener::from(listener.try_clone().unwrap()).local_addr().unwrap())
            .collect();
        let (inherited, dropped, done) = (Barrier::new(3), Barrier::new(3), Barrier::new(3));
        thread::scope(|scope| {
            let reactor = |ours: usize| {
                let (listeners, inherited, dropped, done) =
                    (&listeners, &inherited, &dropped, &done);
                move || {
                    let copies = unshare(listeners, ours..ours + 1).unwrap();
                    for (n, original) in listeners.iter().enumerate() {
                        // SAFETY: asks whether the number is open, for which it need not be.
                        let number = unsafe { BorrowedFd::borrow_raw(original.as_raw_fd()) };
                        assert_eq!(fcntl_getfd(number).is_ok(), n == ours);
                    }
                    inherited.wait();
                    dropped.wait();
                    let listener = TcpListener::from(copies.into_iter().next().unwrap());
                    listener.accept().unwrap();
                    drop(listener);
                    done.wait();
                }
            };
            scope.spawn(reactor(0));
            scope.spawn(reactor(2));
            inherited.wait();
            // Nobody took number 1, and this table's copy of it is still open.
            assert!(TcpStream::connect(addresses[1]).is_ok());
            dropped.wait();
            for n in [0, 2] {
                TcpStream::connect(addresses[n]).unwrap();
            }
            done.wait();
        });
        drop(listeners);
        let deadline = Instant::now() + Duration::from_secs(60);
        for address in addresses {
            // No copy of ours is left. A test beside this one may have taken a table while ours were
            // open: its copies go when it ends.
            while TcpStream::connect(address).is_ok() {
                assert!(Instant::now() < deadline, "a copy is left");
            }
        }
    }

    #[test]
    fn the_range_says_which() {
        let check = |ours: Range<usize>, expected: usize| {
            let pipes: Vec<OwnedFd> =
                (0..4).map(|_| UnixStream::pair().unwrap().0.into()).collect();
            let numbers: Vec<_> = pipes[ours.clone()].iter().map(|pipe| pipe.as_raw_fd()).collect();
            let copies = thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    let copies = unshare(&pipes, ours.clone()).unwrap();
                    copies.iter().map(|copy| copy.as_raw_fd()).collect::<Vec<_>>()
                });
                thread.join().unwrap()
            });
            assert_eq!((copies.len(), &copies), (expected, &numbers));
        };
        check(0..0, 0);
        check(0..4, 4);
        check(1..3, 2);
        check(4..4, 0);
    }
}
