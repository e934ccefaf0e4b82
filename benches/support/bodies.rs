//! Prompts whose bodies are measured.

use actix_responses::protocol::{ContentPart, Prompt, ResponseItem};
use serde_json::{Value, json};

/// How many bytes of base64 a picture has.
pub const PICTURE_BYTES: usize = 20_000_000;

/// A question; conversations of so many items, with tools' calls and reasoning, as a client that keeps them sends them; a picture.
pub const BODIES: [&str; 4] = ["1", "100", "10000", "picture"];

pub fn prompt(name: &str) -> Prompt {
    let input = match name {
        "picture" => vec![picture()],
        count => (0..count.parse().expect("a number of items"))
            .map(item)
            .collect(),
    };
    let mut prompt = Prompt::user("hello").with_model("bench");
    prompt.input = input;
    prompt
}

fn picture() -> ResponseItem {
    let data = "iVBORw0KGgo+".repeat(PICTURE_BYTES / 12);
    let parts = vec![
        ContentPart::input_text("what is this?"),
        ContentPart::input_image(format!("data:image/png;base64,{data}")),
    ];
    item_of(&json!({"type": "message", "role": "user", "content": parts}))
}

/// A question, the reasoning on it, a call, its output, an answer; and again.
fn item(number: usize) -> ResponseItem {
    let id = format!("{number:032x}");
    let text =
        "let mut total = 0;\nfor row in &table {\n    total += row[\"count\"];\n}\n".repeat(4);
    item_of(&match number % 5 {
        0 => {
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
        }
        1 => {
            json!({"type": "reasoning", "id": format!("rs_{id}"), "summary": [], "encrypted_content": "gAAAAABo".repeat(100)})
        }
        2 => {
            json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": format!("call_{id}"), "name": "read_file", "arguments": r#"{"path":"src/main.rs","lines":[1,200]}"#})
        }
        3 => {
            json!({"type": "function_call_output", "call_id": format!("call_{id}"), "output": text})
        }
        _ => {
            json!({"type": "message", "role": "assistant", "id": format!("msg_{id}"), "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]})
        }
    })
}

fn item_of(json: &Value) -> ResponseItem {
    serde_json::from_str(&json.to_string()).expect("an item")
}
