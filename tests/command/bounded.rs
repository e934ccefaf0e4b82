//! What is read whole is read up to a limit, and held but a few times.

use std::{fs::File, io::Write as _, process::Command, thread};

use crate::support::{Folder, Ran, Running, program, run};

/// Runs the program with so much memory, in bytes of its address space.
fn run_within(memory: u64, arguments: &[&str]) -> Ran {
    let program = program(arguments);
    let mut shell = Command::new("sh");
    let script = format!("ulimit -v {}; exec \"$@\"", memory >> 10);
    shell.args(["-c", &script, "sh"]).env_clear();
    shell.arg(program.get_program()).args(program.get_args());
    Running::start(&mut shell).finish()
}

/// Every option that names a file which is read whole, with a limit that it says.
fn readers(file: &str) -> Vec<(Vec<&str>, &'static str)> {
    let ask = |flag| vec!["ask", "hi", "--base-url=https://127.0.0.1:9", flag, file];
    let client_key = ["--client-key", file];
    vec![
        (ask("--input"), "64 MiB"),
        (ask("--tools"), "64 MiB"),
        (ask("--output-schema"), "64 MiB"),
        (vec!["compact", "--model=m", "--input", file], "64 MiB"),
        (
            vec!["models", "--provider=a", "--providers-file", file],
            "1 MiB",
        ),
        (ask("--ca-file"), "16 MiB"),
        (ask("--client-cert"), "16 MiB"),
        ([ask("--client-cert"), client_key.into()].concat(), "16 MiB"),
        (vec!["loopback", "--script", file], "8 MiB"),
        (vec!["loopback", "--recording", file], "64 MiB"),
    ]
}

#[test]
fn file_without_an_end_is_refused_by_name_and_in_bounded_memory() {
    let folder = Folder::new();
    let sparse = folder.path("sparse");
    File::create(&sparse).unwrap().set_len(10 << 30).unwrap();
    for file in ["/dev/zero", &sparse] {
        for (arguments, limit) in readers(file) {
            let ran = run_within(1 << 30, &arguments);
            assert_eq!(
                (ran.status, &*ran.stdout),
                (Some(2), ""),
                "{arguments:?}: {ran:?}"
            );
            for said in [file, limit, "give a shorter one"] {
                assert!(ran.stderr.contains(said), "{arguments:?}: {ran:?}");
            }
        }
    }
    let fifo = folder.path("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    for (arguments, limit) in readers(&fifo) {
        let path = fifo.clone();
        let writer = thread::spawn(move || {
            let mut fifo = File::options().write(true).open(path).unwrap();
            while fifo.write_all(&[b' '; 1 << 16]).is_ok() {}
        });
        let ran = run_within(1 << 30, &arguments);
        writer.join().unwrap();
        assert!(
            ran.stderr.contains(&fifo) && ran.stderr.contains(limit),
            "{arguments:?}: {ran:?}"
        );
    }
    let ran = run_within(1 << 30, &["decode", "/dev/zero"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("max_line_bytes"), "{ran:?}");
}

#[test]
fn file_that_can_not_be_read_is_named() {
    let folder = Folder::new();
    let absent = folder.path("absent");
    let not_text = folder.write("not_text", b"\xff\xfe");
    for (file, reasons) in [
        (&*absent, &["No such file"][..]),
        ("/", &["s a directory"]),
        (
            &not_text,
            &[
                "UTF-8",
                "PEM",
                "expected value",
                "in 'data: '",
                "ended",
                "truncated",
            ],
        ),
    ] {
        for (arguments, _) in readers(file) {
            if arguments.contains(&"--recording") && file == not_text {
                // Whatever bytes are in it are sent.
                continue;
            }
            let ran = run(&arguments);
            assert_eq!(ran.status, Some(2), "{arguments:?}: {ran:?}");
            let is_told = reasons.iter().any(|reason| ran.stderr.contains(reason));
            assert!(
                is_told && ran.stderr.contains(file),
                "{arguments:?}: {ran:?}"
            );
        }
    }
}

#[test]
fn prompt_and_conversation_without_an_end_are_refused() {
    let mut asking = program(&["ask"]);
    let ran = Running::start_with_stdin(&mut asking, File::open("/dev/zero").unwrap()).finish();
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.stderr
            .contains("standard input: it has more than 64 MiB"),
        "{ran:?}"
    );

    let folder = Folder::new();
    let items = format!("[{}{{}}]", "{},".repeat(20_000_000));
    let file = folder.write("items.json", items);
    let ran = run_within(1 << 30, &["ask", "hi", "--input", &file]);
    assert_eq!(ran.status, Some(2));
    for said in [&*file, "RawJson::MAX_TREE_BYTES"] {
        assert!(ran.stderr.contains(said), "{ran:?}");
    }
}

/// The most memory that a process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn large_request_is_held_a_few_times() {
    use std::{io::Read as _, net::TcpStream};

    const LARGE: usize = 29 << 20;
    /// What the program has without a request.
    const IDLE: u64 = 40 << 20;
    let text = "word ".repeat(LARGE / 5);
    let name = "n".repeat(LARGE);
    let objects = r#"{"a":0},"#.repeat(LARGE / 8);
    let tool = |function: String| {
        format!(
            r#"{{"model":"m","tool_choice":"required","tools":[{{"type":"function",{function}}}]}}"#
        )
    };
    for (path, body, status) in [
        (
            "/responses",
            format!(r#"{{"model":"m","stream":true,"input":"{text}"}}"#),
            200,
        ),
        (
            "/responses",
            format!(r#"{{"model":"m","stream":true,"instructions":"{text}"}}"#),
            200,
        ),
        (
            "/responses",
            format!(
                r#"{{"model":"m","stream":true,"input":[{{"role":"user","content":[{{"text":"{text}"}}]}}]}}"#
            ),
            200,
        ),
        (
            "/chat/completions",
            format!(r#"{{"stream":true,"model":"{name}"}}"#),
            200,
        ),
        ("/responses", tool(format!(r#""name":"{name}""#)), 200),
        (
            "/responses",
            tool(format!(r#""name":"f","parameters":{{"enum":["{name}"]}}"#)),
            200,
        ),
        (
            "/responses",
            tool(format!(
                r#""name":"f","parameters":{{"properties":{{"{name}":{{}}}}}}"#
            )),
            200,
        ),
        (
            "/responses/compact",
            format!(r#"{{"model":"m","input":[{{"role":"{name}","content":""}}]}}"#),
            200,
        ),
        ("/responses", format!(r#"{{"input":[{objects}{{}}]}}"#), 413),
    ] {
        let mut serving = Running::start(&mut program(&["loopback", "--quiet"]));
        let line = serving.until_stdout(|text| text.ends_with('\n'));
        let address = line.trim_start_matches("http://").trim_end_matches("/v1\n");
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let shown = &body[..60];
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown}: {answer:.300}"
        );
        let peak = peak_memory(serving.id());
        assert!(peak < IDLE + 4 * length as u64, "{shown}: {peak}");
        assert!(
            status == 200 || answer.contains("more than 100000 JSON values"),
            "{answer:.300}"
        );
    }
}

/// The whole process, with what it has without a request: a file of 20 MB is read, sent and waited for.
#[cfg(target_os = "linux")]
#[test]
fn conversation_of_a_file_is_held_twice_at_most() {
    use std::{
        io::{BufRead as _, BufReader, Read as _},
        net::TcpListener,
    };

    const BYTES: usize = 20_000_000;
    /// What the program has without a request, and what it is above as it is built for tests; built with optimisation it is a fraction of this.
    const IDLE: u64 = 40 << 20;
    let user =
        |content: String| format!(r#"{{"type":"message","role":"user","content":{content}}}"#);
    let text = |bytes: usize| format!(r#""{}""#, "some words \\n".repeat(bytes / 13));
    let picture = format!(
        r#"[{{"type":"input_image","image_url":"data:image/png;base64,{}"}}]"#,
        "iVBORw0KGgo+".repeat(BYTES / 12)
    );
    let folder = Folder::new();
    for (what, items) in [
        ("text", user(text(BYTES))),
        ("picture", user(picture)),
        ("items", vec![user(text(2_000)); BYTES / 2_060].join(",")),
    ] {
        let file = folder.write(what, format!("[{items}]"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let arguments = [
            "ask",
            "--model=m",
            "--base-url",
            &base_url,
            "--input",
            &file,
        ];
        let asking = Running::start(&mut program(&arguments));
        let mut request = BufReader::new(listener.accept().unwrap().0);
        let mut length = 0;
        let mut line = String::new();
        while request.read_line(&mut line).unwrap() > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        assert!(length > BYTES as u64 * 9 / 10, "{what}: {length}");
        let read = std::io::copy(&mut request.by_ref().take(length), &mut std::io::sink());
        assert_eq!(read.unwrap(), length, "{what}");
        let peak = peak_memory(asking.id());
        assert!(peak < IDLE + length * 21 / 10, "{what}: {peak}");
        let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        request.get_mut().write_all(refusal.as_bytes()).unwrap();
        assert_eq!(asking.finish().status, Some(1), "{what}");
    }
}
