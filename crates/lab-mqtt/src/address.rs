//! Where a broker listens.

use std::fmt;

/// Ports that IANA assigned to MQTT, without and with TLS.
const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;

/// Where a broker listens, and whether it is spoken to through TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    is_tls: bool,
}

/// A text that is no address of a broker. None of these quotes a text that may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It says who connects, and perhaps a password.
    #[error(
        "the broker's address names a user: names and passwords in addresses end up in listings of processes and in \
         histories of shells"
    )]
    Credentials,
    /// Another protocol, or none.
    #[error("`{typed}` is no address of a broker: it begins with neither `mqtt://` nor `mqtts://`")]
    Scheme {
        /// What was given.
        typed: String,
    },
    /// Something else is wrong with it.
    #[error(
        "`{typed}` is no address of a broker: {why}; expected `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`"
    )]
    Malformed {
        /// What was given.
        typed: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Address {
    /// Reads `mqtt://HOST[:PORT]` (port 1883) or `mqtts://HOST[:PORT]` (TLS, port 8883). A numeric IPv6 host stands in
    /// brackets.
    ///
    /// # Errors
    ///
    /// When it is anything else, or holds a user or a password.
    pub fn parse(typed: &str) -> Result<Self, AddressError> {
        if typed.contains('@') {
            return Err(AddressError::Credentials);
        }
        let (is_tls, rest) = match (typed.strip_prefix("mqtt://"), typed.strip_prefix("mqtts://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(AddressError::Scheme { typed: typed.to_owned() }),
        };
        let malformed = |why| AddressError::Malformed { typed: typed.to_owned(), why };
        let (host, port) = host_and_port(rest.strip_suffix('/').unwrap_or(rest)).map_err(malformed)?;
        let port = port.unwrap_or(if is_tls { TLS_PORT } else { PORT });
        Ok(Self { host: host.to_owned(), port, is_tls })
    }

    /// Returns the host's name or number, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether the broker is spoken to through TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "mqtts" } else { "mqtt" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("a bracket is not closed")?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if host.is_empty() {
        return Err("it names no host");
    }
    if host.contains(|own: char| own.is_whitespace() || own.is_control() || "/?#[]".contains(own)) {
        return Err("there is more than a host and a port");
    }
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        None => Err("there is more than a host and a port"),
        Some(digits) => match digits.parse() {
            Ok(0) | Err(_) => Err("its port is no number from 1 to 65535"),
            Ok(port) => Ok((host, Some(port))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_a_port_and_a_way_to_speak() {
        for (typed, host, port, is_tls, written) in [
            ("mqtt://broker", "broker", 1883, false, "mqtt://broker:1883"),
            ("mqtts://broker/", "broker", 8883, true, "mqtts://broker:8883"),
            ("mqtt://10.0.0.7:2883", "10.0.0.7", 2883, false, "mqtt://10.0.0.7:2883"),
            ("mqtts://[::1]:9000", "::1", 9000, true, "mqtts://[::1]:9000"),
            ("mqtt://[fe80::1]", "fe80::1", 1883, false, "mqtt://[fe80::1]:1883"),
        ] {
            let address = Address::parse(typed).unwrap();
            assert_eq!((address.host(), address.port(), address.is_tls()), (host, port, is_tls));
            assert_eq!(address.to_string(), written);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_is_wrong() {
        for (typed, fragment) in [
            ("broker", "neither `mqtt://` nor `mqtts://`"),
            ("http://broker", "neither"),
            ("mqtt://", "names no host"),
            ("mqtt://:1883", "names no host"),
            ("mqtt://broker:0", "no number from 1 to 65535"),
            ("mqtt://broker:65536", "no number from 1 to 65535"),
            ("mqtt://broker:", "no number from 1 to 65535"),
            ("mqtt://broker/topic", "more than a host and a port"),
            ("mqtt://bro ker", "more than a host and a port"),
            ("mqtt://[::1", "a bracket is not closed"),
            ("mqtt://[::1]x", "more than a host and a port"),
        ] {
            let message = Address::parse(typed).unwrap_err().to_string();
            assert!(message.contains(fragment), "{typed}: {message}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        for typed in ["mqtt://me:hunter2@broker", "mqtts://me@broker", "me:hunter2@broker"] {
            let error = Address::parse(typed).unwrap_err();
            assert_eq!(error, AddressError::Credentials);
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
