//! litellm's proxy, a peer that many use.

use std::{env, fs, net::SocketAddr, path::PathBuf, process::Stdio};

use crate::process::{Process, free_address, listens};

/// The path of its `litellm`.
const PROGRAM: &str = "LITELLM";

/// litellm's proxy with an upstream, which ends with this value.
pub struct Litellm {
    shell: Process,
    pub address: SocketAddr,
}

impl Litellm {
    /// Starts it, where there is one.
    pub async fn start(upstream: SocketAddr) -> Option<Self> {
        let program = PathBuf::from(env::var_os(PROGRAM)?);
        let address = free_address();
        let folder = env::temp_dir().join(format!("bench-litellm-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("config.yaml");
        let configuration = format!(
            "model_list:\n\
             - model_name: \"*\"\n\
             \x20 litellm_params: {{model: \"openai/gpt-4o\", api_base: \"http://{upstream}/v1\", api_key: none}}\n"
        );
        fs::write(&file, configuration).expect("its configuration");
        let mut command = Process::kept(&program);
        command.arg("--config").arg(&file);
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
        // It asks for a key even where nobody else can reach it.
        command.env(
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
            "true",
        );
        let shell = Process::start(command.stderr(Stdio::null())).with_folder(folder);
        listens(address).await;
        Some(Self { shell, address })
    }

    pub fn id(&self) -> u32 {
        self.shell.said
    }
}
