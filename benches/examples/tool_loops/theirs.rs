//! The same with async-openai, as its documentation has a stream read.

use std::error::Error;

use async_openai::{
    Client,
    config::OpenAIConfig,
    types::responses::{
        CompactResponseRequest, CreateResponseArgs, EasyInputMessage, FunctionCallOutput,
        FunctionCallOutputItemParam, FunctionTool, InputItem, Item, MessageItem, OutputItem,
        ResponseStreamEvent, Tool,
    },
};
use futures_util::StreamExt;

use super::{Asked, CONTEXT_TOKENS, MAX_TURNS, QUESTION, schema, weather};

pub async fn run(client: &Client<OpenAIConfig>) -> Result<String, Box<dyn Error>> {
    let tool = Tool::Function(FunctionTool {
        name: "weather".into(),
        description: Some("The weather in a city".into()),
        parameters: Some(schema()),
        ..FunctionTool::default()
    });
    let mut conversation: Vec<InputItem> = vec![EasyInputMessage::from(QUESTION).into()];
    let mut cost = 0;
    for _ in 0..MAX_TURNS {
        let request = CreateResponseArgs::default()
            .model("demo")
            .input(conversation.clone())
            .tools(vec![tool.clone()])
            .build()?;
        let mut events = client.responses().create_stream(request).await?;
        let mut response = None;
        while let Some(event) = events.next().await {
            match event? {
                ResponseStreamEvent::ResponseCompleted(end) => {
                    response = Some(end.response);
                    break;
                }
                ResponseStreamEvent::ResponseIncomplete(end) => {
                    return Err(format!("incomplete: {:?}", end.response.incomplete_details).into());
                }
                ResponseStreamEvent::ResponseFailed(end) => {
                    return Err(format!("failed: {:?}", end.response.error).into());
                }
                ResponseStreamEvent::ResponseError(error) => return Err(error.message.into()),
                _ => {}
            }
        }
        let response = response.ok_or("the stream ended before the answer")?;
        let tokens = response
            .usage
            .as_ref()
            .map_or(0, |usage| usage.total_tokens);
        cost += tokens;
        let text = response.output_text();
        let mut answers = Vec::new();
        for item in response.output {
            match item {
                OutputItem::FunctionCall(call) => {
                    let output = match serde_json::from_str::<Asked>(&call.arguments) {
                        Ok(asked) => weather(&asked),
                        Err(error) => error.to_string(),
                    };
                    let answer = FunctionCallOutputItemParam {
                        call_id: Some(call.call_id.clone()),
                        output: FunctionCallOutput::Text(output),
                        id: None,
                        status: None,
                        name: None,
                        namespace: None,
                        caller: None,
                    };
                    conversation.push(Item::FunctionCall(call).into());
                    answers.push(InputItem::from(Item::FunctionCallOutput(answer)));
                }
                OutputItem::Message(message) => {
                    conversation.push(Item::Message(MessageItem::Output(message)).into());
                }
                OutputItem::Reasoning(reasoning) => {
                    conversation.push(Item::Reasoning(reasoning).into());
                }
                other => return Err(format!("cannot send back {other:?}").into()),
            }
        }
        if answers.is_empty() {
            return Ok(format!("{} ({cost} tokens)", text.unwrap_or_default()));
        }
        conversation.extend(answers);
        if u64::from(tokens) > CONTEXT_TOKENS {
            let request = CompactResponseRequest {
                model: "demo".into(),
                input: Some(conversation.into()),
                ..CompactResponseRequest::default()
            };
            let compacted = client.responses().compact(request).await?;
            conversation = compacted
                .output
                .into_iter()
                .map(|item| serde_json::from_value(serde_json::to_value(item)?))
                .collect::<Result<_, _>>()?;
        }
    }
    Err("the model called tools and never answered".into())
}
