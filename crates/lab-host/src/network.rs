//! What this machine is called by on a network.

use crate::roots::{entries, read_text};
use crate::{Roots, Unavailable};

/// Returns the MAC address of the first physical interface, in the order of their names, as the kernel writes it:
/// `00:0f:00:70:91:0a`. Loopback, bridges, tunnels and the ends of containers have no device behind them.
///
/// # Errors
///
/// When there is none, or none that tells its address.
pub fn mac_address(roots: &Roots) -> Result<String, Unavailable> {
    let folder = roots.sys.join("class/net");
    for interface in entries(&folder, "")? {
        if !interface.join("device").exists() {
            continue;
        }
        if let Ok(address) = read_text(&interface.join("address"))
            && is_address(&address)
        {
            return Ok(address);
        }
    }
    Err(Unavailable::new(format!("no physical interface in `{}` tells a MAC address", folder.display())))
}

/// Six pairs of hexadecimal digits, not all of them 0.
fn is_address(text: &str) -> bool {
    let pairs: Vec<&str> = text.split(':').collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    pairs.len() == 6 && pairs.iter().all(is_pair) && pairs.iter().any(|pair| *pair != "00")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn interface(sys: &Path, name: &str, address: &str, is_physical: bool) {
        let folder = sys.join("class/net").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("address"), format!("{address}\n")).unwrap();
        if is_physical {
            fs::create_dir(folder.join("device")).unwrap();
        }
    }

    #[test]
    fn the_first_physical_interface_names_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::new("/proc", folder.path());
        assert!(mac_address(&roots).unwrap_err().reason.ends_with("class/net` does not exist"));
        interface(folder.path(), "docker0", "02:42:00:00:00:01", false);
        interface(folder.path(), "lo", "00:00:00:00:00:00", false);
        interface(folder.path(), "can0", "", true);
        interface(folder.path(), "eth0", "00:00:00:00:00:00", true);
        assert!(mac_address(&roots).unwrap_err().reason.contains("no physical interface"));
        interface(folder.path(), "eth2", "00:0f:00:70:91:0a", true);
        interface(folder.path(), "eth10", "00:0f:00:70:91:0b", true);
        assert_eq!(mac_address(&roots).unwrap(), "00:0f:00:70:91:0a");
    }
}
