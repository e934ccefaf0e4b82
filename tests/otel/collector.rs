//! An OTLP receiver, and what it has received as a tree.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::Value;

use crate::wiring::send_spans_to;

/// A test that waits so long fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Receives all spans of this process.
pub(crate) struct Collector {
    received: Arc<(Mutex<Vec<Span>>, Condvar)>,
    provider: SdkTracerProvider,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::<(Mutex<Vec<Span>>, Condvar)>::default();
        let receiving = received.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let spans = receive(stream.expect("a connection"));
                receiving.0.lock().expect("no panic").extend(spans);
                receiving.1.notify_all();
            }
        });
        let provider = send_spans_to(format!("http://{address}/v1/traces"));
        Self { received, provider }
    }

    /// The trace that begins with a span of this name, once it has so many spans.
    pub(crate) fn trace(&self, root: &str, spans: usize) -> Trace {
        let (received, changed) = &*self.received;
        let mut trace = Trace(Vec::new());
        let mut waited = 0;
        while trace.0.len() < spans {
            assert!(
                waited < PATIENCE.as_secs(),
                "there is only {}",
                trace.tree()
            );
            waited += 1;
            self.provider.force_flush().expect("a collector");
            let all = received.lock().expect("no panic");
            let timeout = Duration::from_secs(1);
            let told = changed.wait_timeout_while(all, timeout, |all| {
                let root = all.iter().find(|span| span.name() == root);
                let id = root.map(|root| root.0["traceId"].clone());
                let of_trace = all
                    .iter()
                    .filter(|span| Some(&span.0["traceId"]) == id.as_ref());
                trace.0 = of_trace.cloned().collect();
                trace.0.len() < spans
            });
            drop(told);
        }
        assert_eq!(trace.0.len(), spans, "{}", trace.tree());
        trace
    }
}

/// Reads one request to export spans, and answers it.
fn receive(stream: TcpStream) -> Vec<Span> {
    let mut reader = BufReader::new(&stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).expect("a head") > 2 {
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a length");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    (&stream).write_all(answer.as_bytes()).expect("a reader");
    let request: Value = serde_json::from_slice(&body).expect("JSON");
    let lists = ["/resourceSpans", "/scopeSpans", "/spans"];
    let spans = lists.iter().fold(vec![&request], |all, list| {
        let lists = all
            .into_iter()
            .filter_map(|value| value.pointer(list)?.as_array());
        lists.flatten().collect()
    });
    spans.into_iter().cloned().map(Span).collect()
}

/// A span as it was received.
#[derive(Clone)]
pub(crate) struct Span(pub(crate) Value);

impl Span {
    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub(crate) fn time(&self, field: &str) -> u64 {
        let time = self.text(field).parse();
        time.expect("nanoseconds as a text")
    }

    /// An attribute's type and value.
    pub(crate) fn attribute(&self, name: &str) -> Option<(&str, &Value)> {
        let (_, value) = self.attributes().find(|(key, _)| *key == name)?;
        value
            .as_object()?
            .iter()
            .next()
            .map(|(kind, value)| (&**kind, value))
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &Value)> {
        let attributes = self.0["attributes"].as_array().into_iter().flatten();
        attributes.map(|attribute| {
            (
                attribute["key"].as_str().unwrap_or_default(),
                &attribute["value"],
            )
        })
    }

    /// What W3C Trace Context calls it.
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.text("traceId"), self.text("spanId"))
    }

    /// Whether it is linked to another.
    pub(crate) fn follows(&self, other: &Self) -> bool {
        let links = self.0["links"].as_array().into_iter().flatten();
        let ids = ["traceId", "spanId"];
        let mut links = links.map(|link| ids.map(|id| &link[id]));
        links.any(|link| link == ids.map(|id| &other.0[id]))
    }
}

/// The spans of one trace.
pub(crate) struct Trace(pub(crate) Vec<Span>);

impl Trace {
    /// The spans below another, or none, as they began.
    pub(crate) fn below(&self, parent: Option<&Span>) -> Vec<&Span> {
        let id = parent.map_or("", |parent| parent.text("spanId"));
        let below = self.0.iter().filter(|span| span.text("parentSpanId") == id);
        let mut below: Vec<_> = below.collect();
        below.sort_by_key(|span| span.time("startTimeUnixNano"));
        below
    }

    pub(crate) fn tree(&self) -> String {
        let mut tree = String::new();
        for root in self.below(None) {
            self.draw(root, 0, &mut tree);
        }
        tree
    }

    fn draw(&self, span: &Span, depth: usize, tree: &mut String) {
        let kind = match span.0["kind"].as_u64() {
            Some(1) => "internal",
            Some(3) => "client",
            _ => "another kind",
        };
        let status = match span.0["status"]["code"].as_u64() {
            Some(2) => "error",
            _ => "unset",
        };
        let indent = "    ".repeat(depth);
        let id = span.text("spanId");
        let _ = writeln!(
            tree,
            "{indent}{} ({kind}, status {status}, span {id})",
            span.name()
        );
        for link in span.0["links"].as_array().into_iter().flatten() {
            let _ = writeln!(
                tree,
                "{indent}  follows span {}",
                link["spanId"].as_str().unwrap_or_default()
            );
        }
        for (name, _) in span.attributes() {
            if let Some((kind, value)) = span.attribute(name) {
                let kind = kind.trim_end_matches("Value");
                let _ = writeln!(tree, "{indent}  {name}: {kind} = {value}");
            }
        }
        for below in self.below(Some(span)) {
            self.draw(below, depth + 1, tree);
        }
    }
}
