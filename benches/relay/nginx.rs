//! nginx, as the limit of what passing on can cost.

use std::{env, fs, net::SocketAddr, path::PathBuf, thread::available_parallelism};

use crate::{
    process::{Process, free_address, listens},
    target,
};

/// nginx with an upstream, which ends with this value.
pub struct Nginx {
    shell: Process,
    pub address: SocketAddr,
}

impl Nginx {
    /// Starts it, where there is one: `benches/relay/nginx.sh` brings it.
    pub async fn start(upstream: SocketAddr) -> Option<Self> {
        let program = program()?;
        let address = free_address();
        let folder = env::temp_dir().join(format!("bench-nginx-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration(address, upstream)).expect("its configuration");
        let mut command = Process::kept(&program);
        command.args(["-e", "stderr", "-p"]).arg(&folder);
        let shell = Process::start(command.arg("-c").arg(&file)).with_folder(folder);
        listens(address).await;
        Some(Self { shell, address })
    }

    /// The first of its processes, of which the others are children.
    pub fn id(&self) -> u32 {
        self.shell.said
    }
}

fn program() -> Option<PathBuf> {
    let unpacked = target::target_folder().join("nginx/usr/sbin/nginx");
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path).map(|folder| folder.join("nginx"));
    let mut known = [unpacked, "/usr/sbin/nginx".into()]
        .into_iter()
        .chain(installed);
    known.find(|program| program.is_file())
}

fn configuration(address: SocketAddr, upstream: SocketAddr) -> String {
    // Started by root it would become another user, which a sandbox does not have; whoever is not root is not asked.
    let workers = available_parallelism().map_or(1, usize::from);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|what| format!("    {what}_temp_path {what};\n"));
    let temporary = temporary.concat();
    format!(
        "daemon off;\n\
         user root;\n\
         worker_processes {workers};\n\
         pid nginx.pid;\n\
         error_log stderr error;\n\
         events {{ worker_connections 8000; }}\n\
         http {{\n\
         {temporary}\
         \x20   access_log off;\n\
         \x20   keepalive_requests 10000000;\n\
         \x20   upstream server {{ server {upstream}; keepalive 256; keepalive_requests 10000000; }}\n\
         \x20   server {{\n\
         \x20       listen {address} backlog=2048;\n\
         \x20       location / {{\n\
         \x20           proxy_pass http://server;\n\
         \x20           proxy_http_version 1.1;\n\
         \x20           proxy_set_header Connection \"\";\n\
         \x20           proxy_buffering off;\n\
         \x20       }}\n\
         \x20   }}\n\
         }}\n"
    )
}
