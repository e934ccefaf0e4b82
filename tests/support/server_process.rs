//! An embedded provider in a process of its own.

use std::{
    env,
    io::{self, BufRead, BufReader, Read},
    process::{self, Child, Command, Stdio},
};

use actix_responses::loopback::{Loopback, LoopbackOptions};

/// Set in the process that is to serve.
const SERVES: &str = "TEST_SERVES";

/// The program of the test once more, in which the same test comes to the same place and serves from there on. It is killed when
/// this is dropped, and ends when the test does.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) base_url: String,
}

impl ServerProcess {
    /// `test` is the full name of the test that calls this, before it does anything else.
    pub(crate) fn start(test: &str, options: LoopbackOptions) -> Self {
        if env::var_os(SERVES).is_some() {
            serve(options);
        }
        let mut child = Command::new(env::current_exe().expect("this program"))
            .args([test, "--exact", "--nocapture"])
            .env(SERVES, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program");
        let lines = BufReader::new(child.stdout.as_mut().expect("a pipe")).lines();
        // Before it is what the test harness says.
        let base_url = lines
            .map(|line| line.expect("text"))
            .find_map(|line| Some(format!("http://{}", line.split_once("http://")?.1)))
            .unwrap_or_else(|| panic!("no test is named {test}"));
        Self { child, base_url }
    }

    /// `kill -9`, and waits until it is dead.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a running process");
        self.child.wait().expect("its end");
    }
}

/// Until nobody holds the other end of stdin.
fn serve(options: LoopbackOptions) -> ! {
    let loopback = Loopback::start(options).expect("a provider");
    println!("{}", loopback.base_url());
    let ended = io::stdin().read_to_end(&mut Vec::new());
    process::exit(i32::from(ended.is_err()));
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // An error means that it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
