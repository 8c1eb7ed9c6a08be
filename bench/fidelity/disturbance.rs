//! What is done to a run from outside.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Threads that want all of one processor, until this goes away.
pub struct Burners {
    out: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    /// Lights `count` of them on processor `cpu`.
    ///
    /// # Errors
    /// When there is no such processor.
    pub fn light(count: usize, cpu: usize) -> Result<Burners> {
        let mut only = CpuSet::new();
        only.set(cpu).with_context(|| format!("processor {cpu}"))?;
        let mut burners = Burners { out: Arc::default(), threads: Vec::new() };
        let (report, pinned) = std::sync::mpsc::channel();
        for _ in 0..count {
            let (out, report) = (Arc::clone(&burners.out), report.clone());
            burners.threads.push(thread::spawn(move || {
                // 0 is the calling thread. Whoever lights the burners waits for this.
                let _ = report.send(sched_setaffinity(Pid::from_raw(0), &only));
                while !out.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
        for _ in 0..count {
            pinned.recv()?.with_context(|| format!("a busy loop cannot be kept on processor {cpu}"))?;
        }
        Ok(burners)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.out.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A busy loop does not panic.
            let _ = thread.join();
        }
    }
}

/// A proxy before the server at `url` that hands the requests on at once, and the answers every `hold` in writes of at
/// most `most` bytes. It lives as long as the process.
///
/// # Errors
/// When it cannot listen.
pub fn coalesce(url: &str, hold: Duration, most: usize) -> Result<SocketAddr> {
    let server = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").context("the proxy cannot listen")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming() {
            // What goes wrong with a connection is seen, and counted, by the client.
            let _ = client.and_then(|client| connect(client, &server, hold, most));
        }
    });
    Ok(address)
}

fn connect(client: TcpStream, server: &str, hold: Duration, most: usize) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut requests, mut onward) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut requests, &mut onward);
        let _ = onward.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let _ = hold_back(server, &client, hold, most);
        let _ = client.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Comes by every `hold` and passes on what waits then; what comes meanwhile waits in the socket.
fn hold_back(mut server: TcpStream, mut client: &TcpStream, hold: Duration, most: usize) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    // The shortest look that there is. Only this half reads from the server.
    server.set_read_timeout(Some(Duration::from_millis(1)))?;
    loop {
        thread::sleep(hold);
        match server.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => buffer[..len].chunks(most).try_for_each(|piece| client.write_all(piece))?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
}
