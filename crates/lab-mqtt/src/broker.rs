//! A broker as a client needs to know it, and who the client is there.

use std::fmt;

use lab_core::digest::Digest;

use crate::address::Address;
use crate::tls::{Tls, TlsError, TlsFiles};

/// A broker, how it proves who it is, and who connects.
#[derive(Debug, Clone)]
pub struct Broker {
    pub(crate) address: Address,
    pub(crate) tls: Option<Tls>,
    pub(crate) credentials: Option<Credentials>,
}

impl Broker {
    /// Puts together what is known of a broker. The files are read where its address asks for TLS.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or does not hold what it should.
    pub fn new(
        address: Address,
        files: &TlsFiles<'_>,
        credentials: Option<Credentials>,
    ) -> Result<Self, TlsError> {
        let tls = address.is_tls().then(|| Tls::new(files)).transpose()?;
        Ok(Self { address, tls, credentials })
    }

    /// Returns where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// A user's name and password. What prints it prints no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: Vec<u8>,
}

impl Credentials {
    /// Wraps a name and a password; nothing where one is longer than MQTT can say (65 535 bytes).
    pub fn new(user: &str, password: &[u8]) -> Option<Self> {
        let fits = |bytes: usize| u16::try_from(bytes).is_ok();
        (fits(user.len()) && fits(password.len()))
            .then(|| Self { user: user.to_owned(), password: password.to_owned() })
    }

    pub(crate) fn pair(&self) -> (&str, &[u8]) {
        (&self.user, &self.password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Returns the id of a client, always the same for the same parts: 23 letters and digits, which every broker accepts (section
/// 3.1.3.1).
pub fn client_id(parts: &[&str]) -> String {
    let digest = Digest::of_canonical("lab.mqtt.client.v1", &parts).to_string();
    format!("lab{}", &digest[..20])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_client_depends_on_every_part_and_on_where_each_ends() {
        let id = client_id(&["host", "iot/metrics/+"]);
        assert_eq!((id.len(), id.clone()), (23, client_id(&["host", "iot/metrics/+"])));
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(id, client_id(&["hosti", "ot/metrics/+"]));
        assert_ne!(id, client_id(&["other", "iot/metrics/+"]));
    }

    #[test]
    fn a_password_is_not_printed() {
        let credentials = Credentials::new("me", b"hunter2").unwrap();
        let printed = format!("{credentials:?}");
        assert!(
            printed.contains("me") && !printed.contains("hunter2") && !printed.contains("104"),
            "{printed}"
        );
        assert_eq!(Credentials::new("me", &[0; 65_536]), None);
    }
}
