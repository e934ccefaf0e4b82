//! What a caller does with a call: reads its arguments, and answers it.

use std::{error::Error, fmt};

use serde::de::DeserializeOwned;

use super::{Content, CustomToolCallItem, FunctionCallItem, ResponseItem};

impl FunctionCallItem {
    /// The arguments in a type of the caller's. A blank text, which models write for a function without parameters, is an empty
    /// object.
    ///
    /// ```
    /// use actix_responses::protocol::FunctionCallItem;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Weather {
    ///     city: String,
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let call = FunctionCallItem::new("weather", r#"{"city": "Oslo"}"#, "call_1");
    /// let weather: Weather = call.arguments()?;
    /// let answer = call.answer(format!("It rains in {}.", weather.city));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When they are no JSON, or not of the shape of `T`. To tell the model so is mostly better than to give up.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, ArgumentsError> {
        let text = match self.arguments.trim() {
            "" => "{}",
            text => text,
        };
        serde_json::from_str(text).map_err(|source| ArgumentsError {
            tool: self.name.clone(),
            source,
        })
    }

    /// The item that tells the model what the function returned.
    pub fn answer(&self, output: impl Into<Content>) -> ResponseItem {
        ResponseItem::function_call_output(&self.call_id, output)
    }
}

impl CustomToolCallItem {
    /// The item that tells the model what the tool returned.
    pub fn answer(&self, output: impl Into<Content>) -> ResponseItem {
        ResponseItem::custom_tool_call_output(&self.call_id, output)
    }
}

/// The arguments that a model wrote are not what the function takes.
#[derive(Debug)]
#[non_exhaustive]
pub struct ArgumentsError {
    /// The function's name.
    pub tool: String,
    /// What is wrong with them.
    pub source: serde_json::Error,
}

impl fmt::Display for ArgumentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tool, source } = self;
        write!(
            f,
            "the arguments of the call of {tool:?} do not fit: {source}"
        )
    }
}

impl Error for ArgumentsError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn arguments_are_read_into_a_type() {
        type Arguments = BTreeMap<String, u8>;
        let call = |arguments: &str| FunctionCallItem::new("sum", arguments, "call_1");
        let of = |arguments: &str| call(arguments).arguments::<Arguments>();
        assert_eq!(of(r#" {"a": 1}"#).unwrap()["a"], 1);
        assert_eq!(of(" ").unwrap(), Arguments::new());
        for (arguments, said) in [
            (
                r#"{"a": 1"#,
                "EOF while parsing an object at line 1 column 7",
            ),
            (
                r#"{"a": "x"}"#,
                r#"invalid type: string "x", expected u8 at line 1 column 9"#,
            ),
        ] {
            let error = of(arguments).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the arguments of the call of \"sum\" do not fit: {said}")
            );
        }
    }

    #[test]
    fn a_call_is_answered_under_its_id() {
        let function = FunctionCallItem::new("f", "{}", "call_1").answer("a");
        assert_eq!(function, ResponseItem::function_call_output("call_1", "a"));
        let custom = CustomToolCallItem::new("c", "text", "call_2").answer("b");
        assert_eq!(custom, ResponseItem::custom_tool_call_output("call_2", "b"));
    }
}
