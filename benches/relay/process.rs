//! Other processes: how they are started and end, and what they cost.

use std::{
    env, fs, io,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// A process that ends when its standard input does, and says a number when it is ready.
pub struct Process {
    child: Child,
    /// Its port, or what else it said.
    pub said: u32,
    /// What it works in, which goes with it.
    folder: Option<PathBuf>,
    /// It does not end with its standard input.
    is_kept: bool,
}

impl Process {
    /// This program once more.
    pub fn again(variable: &str, value: &str) -> Self {
        let mut command = Command::new(env::current_exe().expect("the program's path"));
        command.env(variable, value);
        Self::start(&mut command)
    }

    /// A program that does not end by itself, nor with its standard input: a shell sees to that, with ten seconds for what the program has
    /// to do before. It says the program's id.
    pub fn kept(program: &Path) -> Command {
        let mut command = Command::new("sh");
        let script = "\"$0\" \"$@\" >&2 & it=$!; echo $it; read -r _; kill $it; \
            { sleep 10; kill -9 $it; } >/dev/null 2>&1 & last=$!; wait $it; kill $last";
        command.args(["-c", script]).arg(program);
        command
    }

    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("what it says");
        // A program that is not ours to change says its URL.
        let number = line.trim().trim_end_matches("/v1").rsplit(':').next();
        let said = number.and_then(|number| number.parse().ok());
        Self {
            child,
            said: said.expect("a number"),
            folder: None,
            is_kept: false,
        }
    }

    /// It is ended by a signal.
    pub fn kept_itself(mut self) -> Self {
        self.is_kept = true;
        self
    }

    /// The folder goes when it has ended.
    pub fn with_folder(mut self, folder: PathBuf) -> Self {
        self.folder = Some(folder);
        self
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens, if what it said is its port.
    pub fn address(&self) -> SocketAddr {
        let port = u16::try_from(self.said).expect("a port");
        (Ipv4Addr::LOCALHOST, port).into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if self.is_kept {
            // An error means that it has ended already.
            let _ = self.child.kill();
        }
        // An error means that it has ended already.
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// A free port, for programs that can't be told to take any.
pub fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    free.local_addr().expect("an address")
}

/// Waits until somebody listens there, for a while.
pub async fn listens(address: SocketAddr) {
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = Duration::from_secs(120);
    timeout(patience, listening).await.expect("a listener");
}

/// Ends this process with its parent.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
}

/// The CPU time of a process and its children, all threads and the kernel included.
pub fn cpu(process: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    let tasks = tasks.expect("a process that runs").flatten();
    let times = tasks.map(|task| {
        let path = task.path();
        let read = |name| fs::read_to_string(path.join(name)).unwrap_or_default();
        let own = read("schedstat");
        let own = own.split(' ').next().and_then(|time| time.parse().ok());
        let children = read("children");
        let children = children.split_whitespace();
        let children = children.filter_map(|child| child.parse().ok());
        Duration::from_nanos(own.unwrap_or_default()) + children.map(cpu).sum::<Duration>()
    });
    times.sum()
}

/// The resident memory of a process, in bytes.
pub fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse().ok())
        .expect("its resident memory");
    kib << 10
}
