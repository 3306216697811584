//! The options that say how to reach a broker and who connects, and words for what goes wrong there.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use lab_mqtt::{Address, AddressError, Broker, Credentials, MqttError, TlsFiles};

use crate::failure::{Failure, Result};
use crate::terminal::say;

/// The environment variable with the user's password.
const PASSWORD: &str = "LAB_MQTT_PASSWORD";

/// How to reach a broker, and who connects.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Broker")]
pub(crate) struct BrokerOptions {
    /// Trust the authorities in this file (PEM) in place of Mozilla's; for `mqtts://`.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The client's own certificate (PEM), where the broker asks for one.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the client's certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The user's name at the broker. The password comes from `--password-file`, or else from LAB_MQTT_PASSWORD.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A file that holds the user's password, and nothing else but a line feed at its end.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

impl BrokerOptions {
    /// Returns the first option that is given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let options =
            [("--ca", self.ca.is_some()), ("--cert", self.cert.is_some()), ("--user", self.user.is_some())];
        options.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// Puts together what is known of the broker at an address. The address is read here and not by the parser of the command
    /// line, whose complaints repeat what was typed.
    pub(crate) fn broker(&self, typed: &str) -> Result<Broker> {
        let address = Address::parse(typed).map_err(refuse)?;
        if let (false, Some(option)) = (address.is_tls(), self.given().filter(|name| *name != "--user")) {
            return Err(Failure::usage(anyhow!(
                "`{option}` is about TLS, and `{address}` is spoken to without"
            ))
            .hint("`mqtts://` asks for TLS"));
        }
        let credentials = self.credentials()?;
        if credentials.is_some() && !address.is_tls() {
            say(&format!("note: the password goes to {address} in the clear; `mqtts://` encrypts it"));
        }
        let files =
            TlsFiles { ca: self.ca.as_deref(), certificate: self.cert.as_deref(), key: self.key.as_deref() };
        Broker::new(address, &files, credentials).map_err(Failure::usage)
    }

    fn credentials(&self) -> Result<Option<Credentials>> {
        let Some(user) = &self.user else { return Ok(None) };
        let password = self.password(user)?;
        let too_long = || Failure::usage(anyhow!("the user's name or password is longer than 65535 bytes"));
        Credentials::new(user, &password).map(Some).ok_or_else(too_long)
    }

    fn password(&self, user: &str) -> Result<Vec<u8>> {
        if let Some(path) = &self.password_file {
            let unreadable =
                |error| Failure::usage(anyhow!("cannot read the password in `{}`: {error}", path.display()));
            let mut password = std::fs::read(path).map_err(unreadable)?;
            if password.last() == Some(&b'\n') {
                password.pop();
            }
            return Ok(password);
        }
        let own = std::env::var_os(PASSWORD).map(OsString::into_vec);
        own.ok_or_else(|| {
            Failure::usage(anyhow!("there is no password for `{user}`"))
                .hint(format!("`--password-file FILE` names a file that holds it, or {PASSWORD} has it"))
        })
    }
}

fn refuse(error: AddressError) -> Failure {
    let is_of_credentials = error == AddressError::Credentials;
    let failure = Failure::usage(error);
    match is_of_credentials {
        true => failure.hint(format!(
            "leave it out: `--user NAME` names the user, `--password-file FILE` or {PASSWORD} has the password"
        )),
        false => failure,
    }
}

impl From<MqttError> for Failure {
    fn from(error: MqttError) -> Self {
        let hint = match &error {
            // 4: bad user name or password, 5: not authorised.
            MqttError::Refused { code: 4 | 5 } => Some(format!(
                "`--user NAME` names the user, `--password-file FILE` or {PASSWORD} has the password"
            )),
            MqttError::Untrusted { .. } => {
                Some("`--ca FILE` trusts an authority of your own; the certificate must name the host as the address does".to_owned())
            }
            _ => None,
        };
        // What lasts is something that was named wrongly; the rest is a broker or a network that fails.
        let failure = if error.is_lasting() { Self::usage(error) } else { Self::run(error) };
        hint.into_iter().fold(failure, Self::hint)
    }
}
