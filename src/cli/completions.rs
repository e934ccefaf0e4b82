//! `completions`: what a shell needs to complete the command's words.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::{exit_status::ExitStatus, question};

/// Print the completions of a shell
///
/// Such as `source <(actix-responses completions bash)`, the same with zsh, and `actix-responses completions fish | source`.
#[derive(Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Of the whole command.
    pub(super) fn run(self, mut command: Command) -> ExitStatus {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        generate(self.shell, &mut command, &name, &mut script);
        let mut script = String::from_utf8_lossy(&script).into_owned();
        if self.shell == Shell::Bash {
            // clap_complete 4.6 spells a name with a hyphen in two ways, and so completes nothing behind a subcommand (clap's issue 6421).
            let (wrong, right) = (name.replace('-', "__subcmd__"), name.replace('-', "__"));
            script = script.replace(&wrong, &right);
        }
        question::print(&script)
    }
}
