//! How long the server asks to wait.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// Reads the delay that response headers ask for: `retry-after-ms`, then `retry-after` in seconds or as an HTTP date
/// (RFC 9110, 10.2.3), then the same header as litellm's proxy passes it on. A date in the past asks for no delay at all.
pub(crate) fn delay_from_headers(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return seconds(millis / 1000.0);
    }
    ["retry-after", "llm_provider-retry-after"]
        .into_iter()
        .find_map(|name| {
            let text = text(name)?;
            match text.parse::<f64>() {
                Ok(value) => seconds(value),
                Err(_) => {
                    let date = httpdate::parse_http_date(text).ok()?;
                    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
                }
            }
        })
}

/// What no clock could count is as good as for ever: it is longer than anybody waits, and the error says it.
fn seconds(value: f64) -> Option<Duration> {
    let is_too_long = value.is_finite() && value > LONGEST.as_secs_f64();
    match is_too_long {
        true => Some(LONGEST),
        false => Duration::try_from_secs_f64(value).ok(),
    }
}

/// A hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_name_delays_in_order_of_precision() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (headers, expected) in [
            (vec![("retry-after", "2")], Some(2_000)),
            (vec![("retry-after", "0.5")], Some(500)),
            (vec![("retry-after", "1e20")], Some(LONGEST.as_millis())),
            (vec![("retry-after", "-1")], None),
            (vec![("retry-after", "inf")], None),
            (
                vec![("retry-after-ms", "1500"), ("retry-after", "9")],
                Some(1_500),
            ),
            (
                vec![("retry-after-ms", "x"), ("retry-after", "9")],
                Some(9_000),
            ),
            (
                vec![("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")],
                Some(10_000),
            ),
            (
                vec![("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT")],
                Some(0),
            ),
            (vec![("llm_provider-retry-after", "3")], Some(3_000)),
            (vec![("retry-after", "-1")], None),
            (vec![("retry-after", "soon")], None),
            (vec![], None),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            let delay = delay_from_headers(&map, now).map(|d| d.as_millis());
            assert_eq!(delay, expected, "{headers:?}");
        }
    }
}
