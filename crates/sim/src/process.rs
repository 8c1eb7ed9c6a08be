//! A simulated server in a process of its own: started from a command line, known by the URL that it says, and ended in good
//! order so that its log is whole.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running `sim` command. It is killed when dropped.
#[derive(Debug)]
pub struct SimProcess {
    child: Child,
    url: String,
}

impl SimProcess {
    /// Starts `command`, which runs `sim`, and waits until it says where it listens.
    ///
    /// # Errors
    /// When it cannot be started, or ends or says something else first.
    pub fn start(command: &mut Command) -> io::Result<SimProcess> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        // Made at once, so that a server that says nothing useful is not left behind.
        let mut process = SimProcess { child, url: String::new() };
        let mut line = String::new();
        if let Some(out) = process.child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        process.url =
            url.ok_or_else(|| io::Error::other(format!("the simulated server said no address: {line:?}")))?.to_owned();
        Ok(process)
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the server; its log is then complete.
    ///
    /// # Errors
    /// When the server cannot be told to end, or ends with an error.
    pub fn stop(mut self) -> io::Result<()> {
        tell(&mut self.child)?;
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("the simulated server ended with {status}")))
        }
    }
}

impl Drop for SimProcess {
    fn drop(&mut self) {
        // Already ended in the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
fn tell(child: &mut Child) -> io::Result<()> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGINT)?)
}

/// A system without a signal that the server could drain on.
#[cfg(not(unix))]
fn tell(_: &mut Child) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "a server's process cannot be told to end here"))
}
