//! Tools that the server runs.

use super::tagged::{objects, tagged, tagged_by_type_alone};
use crate::protocol::RawJson;

objects! {
    /// The server searched the web.
    WebSearchCallItem {} optional {
        /// What it did; absent until it is known.
        action: WebSearchAction,
        /// The server's id.
        id: String,
        /// `in_progress`, `searching`, `completed` or `failed`.
        status: String,
    }

    /// A search.
    WebSearch {} optional {
        /// What was searched for.
        query: String,
        /// What was searched for, when several searches were made.
        queries: Vec<String>,
        /// What was found: a JSON array.
        sources: RawJson,
    }

    /// A page that was opened or searched.
    WebPage {} optional {
        /// Its address.
        url: String,
        /// What was looked for in it.
        pattern: String,
    }

    /// The server searched files.
    FileSearchCallItem {} optional {
        /// What it searched for.
        queries: Vec<String>,
        /// What it found, when the request asked to see it: a JSON array.
        results: RawJson,
        /// The server's id.
        id: String,
        /// `in_progress`, `searching`, `completed`, `incomplete` or `failed`.
        status: String,
    }

    /// The server ran code.
    CodeInterpreterCallItem {} optional {
        /// The code.
        code: String,
        /// The container that it ran in.
        container_id: String,
        /// What it printed and made, when the request asked to see it: a JSON array.
        outputs: RawJson,
        /// The server's id.
        id: String,
        /// `in_progress`, `interpreting`, `completed`, `incomplete` or `failed`.
        status: String,
    }

    /// The server made an image.
    ImageGenerationCallItem {} optional {
        /// The image in base64.
        result: String,
        /// The prompt that was used in the end.
        revised_prompt: String,
        /// The server's id.
        id: String,
        /// `in_progress`, `generating`, `completed` or `failed`.
        status: String,
    }

    /// The server runs a program that the model wrote, which calls tools.
    ProgramItem {} optional {
        /// The id that the program's output carries.
        call_id: String,
        /// The program.
        code: String,
        /// What the server recognises the program by.
        fingerprint: String,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }

    /// What such a program gave.
    ProgramOutputItem {} optional {
        /// The id of the program that it answers.
        call_id: String,
        /// What it printed.
        result: String,
        /// The server's id.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }

    /// The tools of an MCP server.
    McpListToolsItem {} optional {
        /// The request's label of the MCP server.
        server_label: String,
        /// The tools: a JSON array.
        tools: RawJson,
        /// Why they could not be listed.
        error: RawJson,
        /// The server's id.
        id: String,
    }

    /// The server called a tool of an MCP server, or asks whether it may; that has neither output, error nor status.
    McpCallItem {} optional {
        /// The request's label of the MCP server.
        server_label: String,
        /// The tool's name.
        name: String,
        /// The arguments: the text of a JSON object.
        arguments: String,
        /// What the tool returned.
        output: String,
        /// Why the call failed.
        error: RawJson,
        /// The approval that allowed it.
        approval_request_id: String,
        /// The server's id, which the answer to a question must name.
        id: String,
        /// `in_progress`, `calling`, `completed`, `incomplete` or `failed`.
        status: String,
    }

    /// The answer to the question whether the server may call a tool.
    McpApprovalResponseItem {
        /// The id of the request that it answers.
        approval_request_id: String,
        /// Whether the server may.
        approve: bool,
    } optional {
        /// Why, or why not.
        reason: String,
        /// The server's id.
        id: String,
    }
}

tagged! {
    /// What a web search did.
    WebSearchAction {
        /// It searched.
        Search(WebSearch) = "search",
        /// It opened a page.
        OpenPage(WebPage) = "open_page",
        /// It looked for something in a page.
        FindInPage(WebPage) = "find_in_page",
    }
}

tagged_by_type_alone!(WebSearchAction);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_web_search_action_is_typed_and_written_back() {
        for text in [
            r#"{"type":"search","query":"a"}"#,
            r#"{"type":"search","query":"a","queries":["a","b"],"sources":[{"type":"url","url":"u"}]}"#,
            r#"{"type":"open_page","url":"u"}"#,
            r#"{"type":"open_page"}"#,
            r#"{"type":"find_in_page","url":"u","pattern":"p"}"#,
        ] {
            let action: WebSearchAction = serde_json::from_str(text).unwrap();
            assert!(!matches!(action, WebSearchAction::Unknown(_)), "{text}");
            assert_eq!(serde_json::to_string(&action).unwrap(), text);
        }
    }

    #[test]
    fn an_approval_is_answered_by_the_requests_id() {
        let answer = McpApprovalResponseItem::new("mcpr_1", true);
        let item = crate::protocol::ResponseItem::McpApprovalResponse(answer);
        assert_eq!(
            serde_json::to_string(&item).unwrap(),
            r#"{"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":true}"#
        );
    }
}
