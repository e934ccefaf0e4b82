//! What shells make of the completions: each is asked as a person asks it with the tab key, if it is installed.

use std::process::{Command, Stdio};

use crate::support::{Folder, Running, run};

/// What is typed ahead of the tab, and the word that is completed.
const WORDS: [(&str, &str); 5] = [
    ("actix-responses comple", "completions"),
    ("actix-responses ask --max-out", "--max-output-tokens"),
    ("actix-responses serve --tok", "--tokens"),
    ("actix-responses serve --claim", "--claim-time"),
    ("actix-responses ask --wire ch", "chat"),
];

/// What bash calls for a tab.
const BASH: &str = r#"
source "$1"
complete=$(complete -p actix-responses); complete=${complete#*-F }
while shift; (($#)); do
  COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); shift
  ${complete%% *} actix-responses "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  printf '%s\n' "${COMPREPLY[@]}"
done"#;

/// Zsh completes only where somebody types: in a terminal of its own. It ends when the words are there.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PROMPT= TERM=dumb; autoload -U compinit; compinit -u -D; source $1; print -r -- rea''dy"
zpty -r shell seen '*ready*'
shift
for typed word; do
  zpty -w -n shell $'\x15'"$typed"$'\t'
  zpty -r shell seen "*$word*"
  print -r -- $seen
done"#;

const FISH: &str =
    "source $argv[1]; for at in (seq 2 2 (count $argv)); complete -C $argv[$at]; end";

#[test]
fn shells_complete_subcommands_options_and_values() {
    let folder = Folder::new();
    let mut left_out = Vec::new();
    for (shell, options) in [
        ("bash", &["--norc", "-c", BASH, "bash"][..]),
        ("zsh", &["-f", "-c", ZSH, "zsh"]),
        ("fish", &["--no-config", "-c", FISH]),
    ] {
        let made = run(&["completions", shell]);
        assert_eq!((made.status, made.stderr.as_str()), (Some(0), ""));
        let script = folder.write(shell, &made.stdout);
        let mut version = Command::new(shell);
        let version = version.arg("--version").stdout(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            left_out.push(shell);
            continue;
        }
        let mut command = Command::new(shell);
        command.args(options).arg(script);
        command.env("HOME", folder.path("home"));
        for (typed, word) in WORDS {
            command.args([typed, word]);
        }
        let ran = Running::start(&mut command).finish();
        for (typed, word) in WORDS {
            assert!(ran.stdout.contains(word), "{shell}: {typed}: {ran:?}");
        }
    }
    if !left_out.is_empty() {
        eprintln!("left out, for they are not installed: {left_out:?}");
    }
}
