//! What is asked: words, what is piped in, and files.

use std::process::Stdio;

use actix_responses::loopback::{Loopback, Script};
use serde_json::{Value, json};

use crate::support::{Folder, Ran, Running, program, provider};

/// Asks with a text in the pipe; gives what the server was sent, too.
fn piped(arguments: &[&str], text: &str) -> (Ran, Value) {
    let provider = provider(Script::default());
    let mut running = Running::start_with_stdin(&mut asking(&provider, arguments), Stdio::piped());
    running.type_in(text);
    let ran = running.finish();
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    (ran, provider.requests()[0].json().expect("a JSON body"))
}

fn asking(provider: &Loopback, arguments: &[&str]) -> std::process::Command {
    let base_url = provider.base_url();
    program(&[&["ask", "--base-url", &base_url], arguments].concat())
}

#[test]
fn what_is_piped_in_comes_behind_the_prompt() {
    for (arguments, text, asked) in [
        (
            &["say", "it", "shorter"][..],
            "a\n\nb\n",
            "say it shorter\n\na\n\nb",
        ),
        (&["two words"], " \n", "two words"),
        (&["one"], "", "one"),
        (&["a", "-s", "be brief", "b"], "c", "a b\n\nc"),
        (&["-"], "c\n", "c"),
        (&[], "c", "c"),
    ] {
        let (_, body) = piped(arguments, text);
        let content = &body["input"][0]["content"];
        assert_eq!(content[0]["text"], *asked, "{arguments:?}: {body}");
        assert_eq!(content.as_array().map(Vec::len), Some(1));
    }
    let (_, body) = piped(&["--system=be brief", "hi"], "");
    assert_eq!(body["instructions"], "be brief");
    let (_, body) = piped(&["--wire=chat", "-s=be brief", "hi"], "c");
    assert_eq!(body["messages"][0]["content"], "be brief");
    assert_eq!(body["messages"][1]["content"], "hi\n\nc");
}

#[test]
fn prompt_and_pipe_follow_the_items_as_one_message() {
    let folder = Folder::new();
    let items = r#"[{"role": "user", "content": "earlier"}]"#;
    let input = folder.write("input.json", items);
    let (_, body) = piped(&["--input", &input, "now", "this"], "piped");
    let input = body["input"].as_array().expect("items");
    assert_eq!(input.len(), 2);
    assert_eq!(input[1]["content"][0]["text"], "now this\n\npiped");
}

#[test]
fn a_pipe_that_gives_nothing_is_told_once_and_waited_for() {
    let provider = provider(Script::default());
    let mut running = Running::start_with_stdin(&mut asking(&provider, &["hi"]), Stdio::piped());
    running.until_stderr(|said| {
        said.contains("nothing has come on standard input for 2 s; what comes there is part")
    });
    assert_eq!(provider.request_count(), 0);
    running.type_in("late");
    let ran = running.finish();
    assert_eq!(
        (ran.status, ran.stderr.lines().count()),
        (Some(0), 1),
        "{ran:?}"
    );
    let body = provider.requests()[0].json().expect("a JSON body");
    assert_eq!(body["input"][0]["content"][0]["text"], "hi\n\nlate");
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0";

#[test]
fn files_are_sent_as_the_parts_of_the_api() {
    let folder = Folder::new();
    let notes = folder.write("my notes.txt", "one\r\ntwo\n");
    // What is in it counts where the name says nothing.
    let image = folder.write("image", PNG);
    let paper = folder.write("paper.PDF", "%PDF-1.7\n");
    let webp = folder.write("a.webp", b"RIFF\x04\0\0\0WEBP");
    let files = [
        "-f", &*notes, "-f", &*image, "--file", &*paper, "-f", &*webp, "look",
    ];
    let text = "<file name=\"my notes.txt\">\none\r\ntwo\n</file>";
    let png = "data:image/png;base64,iVBORw0KGgoA";
    let pdf = "data:application/pdf;base64,JVBERi0xLjcK";
    let webp = "data:image/webp;base64,UklGRgQAAABXRUJQ";
    let (_, body) = piped(&files, "piped");
    assert_eq!(
        body["input"],
        json!([{"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": text},
            {"type": "input_image", "image_url": png},
            {"type": "input_file", "filename": "paper.PDF", "file_data": pdf},
            {"type": "input_image", "image_url": webp},
            {"type": "input_text", "text": "look\n\npiped"}]}])
    );
    let (_, body) = piped(&[&files[..], &["--wire=chat"]].concat(), "");
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": [
            {"type": "text", "text": text},
            {"type": "image_url", "image_url": {"url": png}},
            {"type": "file", "file": {"filename": "paper.PDF", "file_data": pdf}},
            {"type": "image_url", "image_url": {"url": webp}},
            {"type": "text", "text": "look"}]}])
    );
    // A file may be all there is.
    let (_, body) = piped(&["-f", &notes], "");
    assert_eq!(
        body["input"][0]["content"],
        json!([{"type": "input_text", "text": text}])
    );
}

#[test]
fn a_file_that_can_not_be_attached_is_named() {
    let folder = Folder::new();
    let large = folder.write("large.txt", vec![b'x'; 17 << 20]);
    let huge = folder.write("huge.txt", vec![b'x'; (32 << 20) + 1]);
    let absent = folder.path("absent.txt");
    let binary = folder.write("a.bin", b"a\0b");
    let latin = folder.write("latin1.txt", b"\xe9");
    let wrong = folder.write("wrong.png", b"text");
    let other = folder.write("sound.wav", b"RIFF\x04\0\0\0WAVE\xff");
    let empty = folder.write("empty.txt", b"\n");
    for (file, said) in [
        (&absent, "can't read"),
        (
            &binary,
            "neither text in UTF-8, an image (PNG, JPEG, GIF, WebP) nor a PDF",
        ),
        (&latin, "neither text"),
        (&other, "neither text"),
        (&wrong, "no image/png"),
        (&empty, "empty"),
        (&huge, "more than 32 MiB"),
    ] {
        let ran = crate::support::run(&["ask", "hi", "-f", file]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
        assert!(
            ran.stderr.contains(&**file) && ran.stderr.contains(said),
            "{ran:?}"
        );
    }
    let ran = crate::support::run(&["ask", "hi", "-f", &large, "-f", &large]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.stderr.contains("more than 32 MiB together"), "{ran:?}");
}
