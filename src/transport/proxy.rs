//! Which connections go through a proxy.
//!
//! An HTTP proxy is asked for a tunnel (`CONNECT`), for `https` and `http` alike, so that it never sees a request or a key. Some
//! proxies allow tunnels to port 443 alone; they refuse `http` then. A SOCKS5 proxy passes on what it gets in any case.

use std::{ffi::OsString, fmt, net::IpAddr};

use url::{Host, Url};

use super::{TransportError, TransportErrorKind as Kind};
use crate::{files::base64, secret::Secret};

/// Which proxy to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyConfig {
    /// What the environment says, read once when the transport factory is made.
    ///
    /// `https_proxy` is for `https`, `http_proxy` for `http`, `all_proxy` for what has none of its own. The upper-case names
    /// count too, `HTTP_PROXY` only where there is no `REQUEST_METHOD`: a CGI program gets it from a request's `Proxy` header.
    /// Lower case wins. `no_proxy`
    /// lists hosts to connect to directly, separated by commas: a name covers its subdomains, and may have a port; an IP
    /// address may be a network such as `10.0.0.0/8`; `*` is all. This machine itself (`localhost`, loopback addresses) is
    /// never reached through a proxy from the environment.
    #[default]
    FromEnvironment,
    /// No proxy.
    None,
    /// This proxy for every host: `http://[user:password@]host[:port]`, or `socks5://`, with the names of hosts resolved here, or
    /// `socks5h://`, with them resolved by the proxy. A secret, for it may hold a password.
    Url(Secret),
}

impl ProxyConfig {
    /// Reads the configuration; `lookup` gives the value of an environment variable.
    ///
    /// A proxy in the environment that can't be used is an error only for a request that would use it.
    pub(crate) fn rules(
        &self,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<ProxyRules, TransportError> {
        match self {
            Self::None => Ok(ProxyRules::Direct),
            Self::Url(url) => {
                let proxy = Proxy::parse(url.expose(), None)
                    .map_err(|reason| unusable("given", &reason))?;
                Ok(ProxyRules::Fixed(proxy))
            }
            Self::FromEnvironment => {
                let first = |names: &[&'static str]| {
                    names.iter().find_map(|&name| {
                        let value = lookup(name)?.into_string();
                        match value {
                            Ok(value) if value.trim().is_empty() => None,
                            Ok(value) => Some((name, Proxy::parse(&value, Some(name)))),
                            Err(_) => Some((name, Err("it is not UTF-8".to_owned()))),
                        }
                    })
                };
                let http: &[_] = match lookup("REQUEST_METHOD") {
                    None => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
                    Some(_) => &["http_proxy", "all_proxy", "ALL_PROXY"],
                };
                let no_proxy = ["no_proxy", "NO_PROXY"];
                let no_proxy = no_proxy
                    .into_iter()
                    .find_map(|name| Some((name, lookup(name)?)));
                let (name, no_proxy) = no_proxy.unwrap_or_default();
                let no_proxy = no_proxy.into_string().map_err(|_| {
                    let message = format!("environment variable {name} is not UTF-8");
                    TransportError::new(Kind::InvalidRequest, message)
                })?;
                Ok(ProxyRules::Environment {
                    https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
                    http: first(http),
                    exceptions: Exceptions::parse(&no_proxy),
                })
            }
        }
    }
}

fn unusable(name: &str, reason: &str) -> TransportError {
    let message = format!("the proxy URL ({name}) can't be used: {reason}");
    TransportError::new(Kind::InvalidRequest, message)
}

/// A proxy of the environment with the variable that it came from, or what is wrong with it.
type FromVariable = Option<(&'static str, Result<Proxy, String>)>;

/// Decides for each connection.
#[derive(Debug)]
pub(crate) enum ProxyRules {
    /// No proxy for any host.
    Direct,
    /// One for all hosts.
    Fixed(Proxy),
    /// It depends on the scheme and the host.
    Environment {
        https: FromVariable,
        http: FromVariable,
        exceptions: Exceptions,
    },
}

impl ProxyRules {
    /// The proxy for a host, which is given without the brackets of an IPv6 address; `None` is a direct connection.
    pub(crate) fn proxy_for(
        &self,
        is_https: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<&Proxy>, TransportError> {
        let (chosen, exceptions) = match self {
            Self::Direct => return Ok(None),
            Self::Fixed(proxy) => return Ok(Some(proxy)),
            Self::Environment {
                https, exceptions, ..
            } if is_https => (https, exceptions),
            Self::Environment {
                http, exceptions, ..
            } => (http, exceptions),
        };
        match chosen {
            _ if is_loopback(host) || exceptions.cover(host, port) => Ok(None),
            None => Ok(None),
            Some((_, Ok(proxy))) => Ok(Some(proxy)),
            Some((name, Err(reason))) => Err(unusable(name, reason)),
        }
    }
}

/// One proxy.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) protocol: ProxyProtocol,
    /// The host, without the brackets of an IPv6 address.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
    /// The variable of the environment that names it.
    pub(crate) variable: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyProtocol {
    Http,
    /// With names of hosts resolved here.
    Socks5,
    /// With names of hosts resolved by the proxy.
    Socks5h,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Secret,
    pub(crate) password: Secret,
}

impl Credentials {
    /// The value of `proxy-authorization`.
    pub(crate) fn basic(&self) -> Secret {
        let both = format!("{}:{}", self.user.expose(), self.password.expose());
        Secret::new(format!("Basic {}", base64(both.as_bytes())))
    }
}

impl Proxy {
    /// Errors say what is wrong without the URL, which may hold a password.
    fn parse(text: &str, variable: Option<&'static str>) -> Result<Self, String> {
        let text = text.trim();
        let with_scheme = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        if text.contains('\\') {
            return Err("a backslash ends the host: in a user's name, write it as %5C".into());
        }
        let url = Url::parse(&with_scheme).map_err(|error| error.to_string())?;
        let (protocol, port) = match url.scheme() {
            "http" => (ProxyProtocol::Http, 80),
            "socks5" => (ProxyProtocol::Socks5, 1080),
            "socks5h" => (ProxyProtocol::Socks5h, 1080),
            "https" => return Err("TLS to the proxy itself is not supported, use http://".into()),
            other => {
                return Err(format!(
                    "scheme {other:?} is not supported, use http://, socks5:// or socks5h://"
                ));
            }
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err("it names no host".into()),
        };
        let has_user = !url.username().is_empty() || url.password().is_some();
        let decoded = |text: &str| {
            let decoded = String::from_utf8(percent_decoded(text));
            decoded
                .map(Secret::new)
                .map_err(|_| "its user or password is not UTF-8")
        };
        let credentials = match has_user {
            true => Some(Credentials {
                user: decoded(url.username())?,
                password: decoded(url.password().unwrap_or_default())?,
            }),
            false => None,
        };
        Ok(Self {
            protocol,
            host,
            port: url.port().unwrap_or(port),
            credentials,
            variable,
        })
    }
}

/// Names the proxy, and who named it, without its credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {}", Authority(&self.host, self.port))?;
        match self.variable {
            Some(variable) => write!(f, " (from {variable})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_fmt(format_args!("{self}"))
    }
}

/// A host and a port as they are written in a URL: an IPv6 address in brackets.
#[derive(Clone, Copy)]
pub(crate) struct Authority<'a>(pub(crate) &'a str, pub(crate) u16);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name_covers("localhost", host),
    }
}

/// The hosts that are reached directly.
#[derive(Debug)]
pub(crate) struct Exceptions(Vec<Exception>);

#[derive(Debug)]
enum Exception {
    All,
    /// A name and its subdomains.
    Name {
        name: String,
        port: Option<u16>,
    },
    /// The addresses whose first `bits` are those of `address`.
    Network {
        address: IpAddr,
        bits: u8,
        port: Option<u16>,
    },
}

impl Exceptions {
    /// Reads `no_proxy`. An entry that makes no sense is a name that no host has.
    fn parse(list: &str) -> Self {
        let entries = list
            .split([',', ' ', '\t'])
            .filter(|entry| !entry.is_empty());
        Self(entries.map(Exception::parse).collect())
    }

    fn cover(&self, host: &str, port: u16) -> bool {
        let address = host.parse::<IpAddr>().ok();
        self.0.iter().any(|exception| match exception {
            Exception::All => true,
            Exception::Name { name, port: only } => {
                only.is_none_or(|only| only == port) && name_covers(name, host)
            }
            Exception::Network {
                address: network,
                bits,
                port: only,
            } => {
                only.is_none_or(|only| only == port)
                    && address.is_some_and(|address| same_network(*network, address, *bits))
            }
        })
    }
}

impl Exception {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::All;
        }
        if let Some(network) = Self::parse_network(entry, None) {
            return network;
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, port.parse().ok()),
            _ => (entry, None),
        };
        let unbracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Some(network) = Self::parse_network(unbracketed.unwrap_or(host), port) {
            return network;
        }
        let name = host
            .trim_start_matches("*.")
            .trim_matches('.')
            .to_ascii_lowercase();
        Self::Name { name, port }
    }

    fn parse_network(text: &str, port: Option<u16>) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self::Network {
            address,
            bits,
            port,
        })
    }
}

fn name_covers(name: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let rest = host.strip_suffix(name);
    !name.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn same_network(network: IpAddr, address: IpAddr, bits: u8) -> bool {
    // Shifting by the whole width overflows: no bit is compared then.
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differing = a.to_bits() ^ b.to_bits();
            differing.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differing = a.to_bits() ^ b.to_bits();
            differing.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Undoes percent-encoding; a `%` without two digits stays what it is.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *byte == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                rest = &tail[2..];
            }
            None => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The route to a URL in an environment: the proxy, `direct`, or what is wrong.
    fn route(environment: &[(&str, &str)], url: &str) -> String {
        let lookup = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name)?;
            Some(found.1.into())
        };
        let rules = ProxyConfig::FromEnvironment.rules(lookup).unwrap();
        let url = Url::parse(url).unwrap();
        let host = url.host_str().unwrap().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap();
        match rules.proxy_for(url.scheme() == "https", host, port) {
            Ok(Some(proxy)) => Authority(&proxy.host, proxy.port).to_string(),
            Ok(None) => "direct".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn variable_depends_on_the_scheme() {
        let (https, http) = ("https://host/", "http://host/");
        for (environment, url, expected) in [
            (&[][..], https, "direct"),
            (&[("HTTPS_PROXY", "http://a:1")], https, "a:1"),
            (
                &[("https_proxy", "http://a:1"), ("HTTPS_PROXY", "http://b:2")],
                https,
                "a:1",
            ),
            (
                &[("https_proxy", " "), ("HTTPS_PROXY", "http://b:2")],
                https,
                "b:2",
            ),
            (&[("HTTPS_PROXY", "http://a:1")], http, "direct"),
            (&[("http_proxy", "http://a:1")], http, "a:1"),
            (&[("http_proxy", "http://a:1")], https, "direct"),
            (&[("HTTP_PROXY", "http://a:1")], http, "a:1"),
            (
                &[("HTTP_PROXY", "http://a:1"), ("REQUEST_METHOD", "GET")],
                http,
                "direct",
            ),
            (&[("ALL_PROXY", "socks5h://a")], http, "a:1080"),
            (&[("ALL_PROXY", "socks5://a:1")], https, "a:1"),
            (&[("ALL_PROXY", "http://a:1")], http, "a:1"),
            (
                &[("all_proxy", "http://a:1"), ("https_proxy", "http://b:2")],
                https,
                "b:2",
            ),
            (&[("https_proxy", "a:1")], https, "a:1"),
            (&[("https_proxy", "http://a")], https, "a:80"),
            (&[("https_proxy", "http://[::1]:3128")], https, "[::1]:3128"),
        ] {
            assert_eq!(route(environment, url), expected, "{environment:?} {url}");
        }
    }

    #[test]
    fn no_proxy_lists_what_is_reached_directly() {
        for (no_proxy, url, direct) in [
            ("", "https://example.com", false),
            ("*", "https://example.com", true),
            ("example.com", "https://example.com", true),
            ("example.com", "https://api.example.com", true),
            ("example.com", "https://notexample.com", false),
            (".example.com", "https://example.com", true),
            ("*.example.com", "https://api.example.com", true),
            ("EXAMPLE.com.", "https://api.Example.COM", true),
            ("example.com", "https://example.com.", true),
            ("api.example.com", "https://example.com", false),
            ("a, example.com ,b", "https://example.com", true),
            ("a b example.com", "https://example.com", true),
            ("example.com:8443", "https://example.com:8443", true),
            ("example.com:8443", "https://example.com", false),
            ("example.com:443", "https://example.com", true),
            ("10.1.2.3", "https://10.1.2.3", true),
            ("10.1.2.3", "https://10.1.2.30", false),
            ("10.1.2.3:8443", "https://10.1.2.3", false),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("10.0.0.0/9", "https://10.128.0.1", false),
            ("0.0.0.0/0", "https://11.1.2.3", true),
            ("10.0.0.0/33", "https://10.0.0.0", false),
            ("10.0.0.0/8", "https://example.com", false),
            ("2001:db8::1", "https://[2001:db8::1]", true),
            ("[2001:db8::1]", "https://[2001:db8::1]", true),
            ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443", true),
            ("2001:db8::/32", "https://[2001:db8:1::1]", true),
            ("2001:db8::/32", "https://[2001:db9::1]", false),
            ("::/0", "https://10.1.2.3", false),
            (",,.,:", "https://example.com", false),
            ("", "https://localhost", true),
            ("", "https://api.localhost:8080", true),
            ("", "https://127.0.0.2", true),
            ("", "https://[::1]", true),
            ("", "https://[::ffff:127.0.0.1]", true),
            ("", "https://notlocalhost", false),
        ] {
            let environment = [("https_proxy", "http://proxy:1"), ("NO_PROXY", no_proxy)];
            let expected = if direct { "direct" } else { "proxy:1" };
            assert_eq!(route(&environment, url), expected, "{no_proxy:?} {url}");
        }
    }

    #[test]
    fn unusable_proxy_fails_where_it_would_be_used() {
        for (value, said) in [
            ("https://hunter2@proxy:1", "TLS to the proxy itself"),
            (
                "socks4://user:hunter2@proxy:1",
                "\"socks4\" is not supported",
            ),
            ("DOM\\user:hunter2@proxy:1", "write it as %5C"),
            ("http://user:hunter2%ff@proxy:1", "is not UTF-8"),
            ("http://user:hunter2@:1", "empty host"),
            ("http://proxy:hunter2", "invalid port"),
        ] {
            let text = route(&[("all_proxy", value)], "https://host");
            assert!(
                text.starts_with("the proxy URL (all_proxy) can't be used: "),
                "{text}"
            );
            assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
            assert_eq!(
                route(&[("all_proxy", value)], "https://localhost"),
                "direct"
            );
            let error = ProxyConfig::Url(value.into()).rules(|_| None).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidRequest);
            assert!(error.to_string().contains("(given)"), "{error}");
        }
    }

    #[test]
    fn given_proxy_is_for_every_host() {
        let environment = |_: &str| Some("*".into());
        let config = ProxyConfig::Url("http://proxy:1".into());
        let rules = config.rules(environment).unwrap();
        let proxy = rules.proxy_for(false, "127.0.0.1", 80).unwrap().unwrap();
        assert_eq!(proxy.to_string(), "proxy proxy:1");
        let rules = ProxyConfig::None.rules(environment).unwrap();
        assert_eq!(rules.proxy_for(true, "host", 443).unwrap(), None);
    }

    #[test]
    fn credentials_are_decoded_sent_and_not_printed() {
        for (url, expected) in [
            ("http://proxy", None),
            (
                "http://Aladdin:open%20sesame@proxy",
                Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ),
            ("Aladdin@proxy:1", Some("Basic QWxhZGRpbjo=")),
            ("http://a:b%40%zz@proxy", Some("Basic YTpiQCV6eg==")),
            (
                "DOM%5CAladdin:x@proxy:1",
                Some("Basic RE9NXEFsYWRkaW46eA=="),
            ),
        ] {
            let proxy = Proxy::parse(url, Some("all_proxy")).unwrap();
            let basic = proxy.credentials.as_ref().map(Credentials::basic);
            assert_eq!(basic.as_ref().map(Secret::expose), expected);
            let config = ProxyConfig::Url(url.into());
            let printed = format!("{proxy} {proxy:?} {config:?} {:?}", config.rules(|_| None));
            assert!(
                !printed.contains("sesame") && !printed.contains("Basic"),
                "{printed}"
            );
        }
    }
}
