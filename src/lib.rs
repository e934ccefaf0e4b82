//! An actor-based streaming runtime for the OpenAI Responses, Chat Completions and Compact APIs.

pub mod sse;
