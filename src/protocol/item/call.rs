//! Tools that the caller runs: each call, and the output that answers it.

use std::collections::BTreeMap;

use super::{
    content::Content,
    tagged::{objects, tagged, tagged_by_type_alone},
};
use crate::protocol::RawJson;

objects! {
    /// The model calls one of the request's functions.
    FunctionCallItem {
        /// The function's name.
        name: String,
        /// The arguments: the text of a JSON object, as the model wrote it, so it need not parse.
        arguments: String,
        /// The id that the output must carry.
        call_id: String,
    } optional {
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
        /// The namespace of the function.
        namespace: String,
    }

    /// What a function or a tool that takes free text returned.
    ToolCallOutputItem {
        /// The output: text, or parts for images and files.
        output: Content,
    } optional {
        /// The id of the call that it answers.
        call_id: String,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
        /// The tool's name.
        name: String,
        /// The namespace of the tool.
        namespace: String,
    }

    /// The model calls a tool that takes free text.
    CustomToolCallItem {
        /// The tool's name.
        name: String,
        /// The text.
        input: String,
        /// The id that the output must carry.
        call_id: String,
    } optional {
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
        /// The namespace of the tool.
        namespace: String,
    }

    /// The model runs a command on the caller's machine (the first form of the shell tool).
    LocalShellCallItem {
        /// What to run.
        action: LocalShellAction,
    } optional {
        /// The id that the output must carry.
        call_id: String,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }

    /// A command, not passed through a shell.
    LocalShellExec {
        /// The program and its arguments.
        command: Vec<String>,
    } optional {
        /// How long it may run, in milliseconds.
        timeout_ms: u64,
        /// Where to run it.
        working_directory: String,
        /// Environment variables to set.
        env: BTreeMap<String, String>,
        /// Who runs it.
        user: String,
    }

    /// What a local command printed.
    LocalShellCallOutputItem {
        /// The output: the text of a JSON object.
        output: String,
    } optional {
        /// The id of the call that it answers; in the API's own form, `id` is that.
        call_id: String,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }

    /// The model runs commands in a shell.
    ShellCallItem {
        /// The id that the output must carry.
        call_id: String,
    } optional {
        /// `{"commands": [...], "timeout_ms", "max_output_length"}`.
        action: RawJson,
        /// Where they run: the caller's machine or a container of the server.
        environment: RawJson,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }

    /// What commands in a shell printed.
    ShellCallOutputItem {
        /// The id of the call that it answers.
        call_id: String,
    } optional {
        /// A JSON array of `{"stdout", "stderr", "outcome"}`.
        output: RawJson,
        /// How much output the model wanted, in characters.
        max_output_length: u64,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }

    /// The model creates, changes or deletes a file.
    ApplyPatchCallItem {
        /// The id that the output must carry.
        call_id: String,
    } optional {
        /// `{"type": "create_file" | "update_file" | "delete_file", "path", "diff"}`.
        operation: RawJson,
        /// The server's id.
        id: String,
        /// `in_progress` or `completed`.
        status: String,
    }

    /// How a change of a file went.
    ApplyPatchCallOutputItem {
        /// The id of the call that it answers.
        call_id: String,
    } optional {
        /// `completed` or `failed`.
        status: String,
        /// What to tell the model of it.
        output: String,
        /// The server's id.
        id: String,
    }

    /// The model uses a computer.
    ComputerCallItem {
        /// The id that the output must carry.
        call_id: String,
    } optional {
        /// One action (click, type, screenshot, ...).
        action: RawJson,
        /// Several actions: a JSON array.
        actions: RawJson,
        /// What the caller must acknowledge first: a JSON array.
        pending_safety_checks: RawJson,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }

    /// What the computer shows.
    ComputerCallOutputItem {
        /// The id of the call that it answers.
        call_id: String,
    } optional {
        /// A screenshot: `{"type": "computer_screenshot", "image_url" | "file_id"}`.
        output: RawJson,
        /// What the caller acknowledges: a JSON array.
        acknowledged_safety_checks: RawJson,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }

    /// The model looks for tools that were not sent with the request.
    ToolSearchCallItem {} optional {
        /// The id that the output must carry; absent when the server searches.
        call_id: String,
        /// `server` or `client`: who searches.
        execution: String,
        /// What to look for: any JSON.
        arguments: RawJson,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }

    /// The tools that a search found.
    ToolSearchOutputItem {} optional {
        /// The id of the call that it answers; absent when the server searched.
        call_id: String,
        /// `server` or `client`: who searched.
        execution: String,
        /// The tools: a JSON array.
        tools: RawJson,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }
}

tagged! {
    /// What a local shell call does.
    LocalShellAction {
        /// Runs a command.
        Exec(LocalShellExec) = "exec",
    }
}

tagged_by_type_alone!(LocalShellAction);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ResponseItem;

    #[test]
    fn a_functions_output_is_a_string_or_parts() {
        for (text, expected) in [
            (
                r#"{"type":"function_call_output","output":"{\"a\":1}","call_id":"c"}"#,
                "{\"a\":1}",
            ),
            (
                r#"{"type":"function_call_output","output":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"u"}],"call_id":"c"}"#,
                "a",
            ),
        ] {
            let item: ResponseItem = serde_json::from_str(text).unwrap();
            let ResponseItem::FunctionCallOutput(output) = &item else {
                panic!("{item:?}")
            };
            assert_eq!(output.output.text(), expected);
            assert_eq!(serde_json::to_string(&item).unwrap(), text);
        }
    }

    #[test]
    fn a_local_command_is_read() {
        let item: LocalShellCallItem = serde_json::from_str(
            r#"{"call_id":"c","status":"completed","action":{"type":"exec","command":["ls","-l"],"timeout_ms":1000,
            "working_directory":"/tmp","env":{"A":"b"},"user":null,"nice":5}}"#,
        )
        .unwrap();
        let LocalShellAction::Exec(exec) = &item.action else {
            panic!("{item:?}")
        };
        assert_eq!(exec.command, ["ls", "-l"]);
        assert_eq!(exec.timeout_ms, Some(1000));
        assert_eq!(exec.env.as_ref().unwrap()["A"], "b");
        assert_eq!(exec.extra["nice"], 5);
    }

    #[test]
    fn an_unknown_action_is_kept_as_it_came() {
        let text = r#"{"type":"local_shell_call","action":{"type" : "kill","pid":1.0}}"#;
        let item: ResponseItem = serde_json::from_str(text).unwrap();
        assert!(matches!(item, ResponseItem::LocalShellCall(_)));
        assert_eq!(serde_json::to_string(&item).unwrap(), text);
    }
}
